"""MONAI bundles: arguments of older versions, the bundle's own code, and the preparation that its transforms state."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from monai import transforms
from monai.data import MetaTensor
from monai.networks import nets

from benchmark.data.preprocessing.normalise import ChannelSchemes
from benchmark.data.preprocessing.preparation import Preparation, Volume, follow
from benchmark.errors import InputError
from benchmark.sources.readers.bundle_transforms import bundle_preparation
from benchmark.sources.readers.recognise import recognise, recognise_pool
from tests.checkpoints import small_network, write_bundle

LOAD = [{"_target_": "LoadImaged", "keys": "@image_key"}, {"_target_": "EnsureChannelFirstd", "keys": "@image_key"}]
SPACING = {"_target_": "Spacingd", "keys": "image", "pixdim": "@pixdim", "mode": "bilinear"}
RANGE = {
    "_target_": "ScaleIntensityRanged",
    "keys": "image",
    "a_min": -57,
    "a_max": 164,
    "b_min": 0,
    "b_max": 1,
    "clip": True,
}


def opened(path, **settings):
    return instantiate(recognise(path) | settings).open()


def changed(folder: Path, network: dict, *, config: str = "train.json", **more) -> Path:
    path = folder / "configs" / config
    content = json.loads(path.read_text(encoding="utf-8")) | more
    content["network_def"] = content["network_def"] | network
    path.write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_a_former_argument_is_dropped_and_kept_as_the_patch(tmp_path):
    folder = changed(write_bundle(tmp_path / "b", name="SwinUNETR"), {"img_size": [64, 64, 64]})
    metadata = folder / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace("spatial_shape", "other"), encoding="utf-8")
    model = opened(folder)
    assert model.patch == (64, 64, 64)
    assert "img_size of SwinUNETR, which MONAI no longer accepts, is used as its patch" in model.notes


def test_a_renamed_argument_is_read_under_its_present_name(tmp_path):
    model = opened(changed(write_bundle(tmp_path / "b", name="UNETR"), {"pos_embed": "conv"}))
    assert "pos_embed of UNETR, which MONAI no longer accepts, is read as proj_type" in model.notes


def test_an_unknown_argument_stays_an_error_by_name(tmp_path):
    with pytest.raises(InputError, match=r"does not accept its arguments: TypeError: .*'img_size'"):
        opened(changed(write_bundle(tmp_path / "b"), {"img_size": 32}))


def code_bundle(folder: Path, factor: int) -> Path:
    """A bundle whose network is a class of its own module `scripts.net`, which imports another one."""
    write_bundle(folder)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "__init__.py").touch()
    (folder / "scripts" / "factor.py").write_text(f"FACTOR = {factor}\n", encoding="utf-8")
    code = (
        "from monai.networks.nets import UNet\nfrom scripts.factor import FACTOR\n\nclass Net(UNet):\n"
        "    def forward(self, x):\n        return super().forward(x) * FACTOR\n"
    )
    (folder / "scripts" / "net.py").write_text(code, encoding="utf-8")
    return changed(folder, {"_target_": "scripts.net.Net"}, imports=["$from scripts.factor import FACTOR"])


def test_code_of_trusted_bundles_is_imported_and_not_shared(tmp_path):
    sys.modules["scripts"] = before = type(sys)("scripts")
    path = list(sys.path)
    image = torch.ones(1, 1, 32, 32, 32)
    plain = small_network("UNet")(image)
    try:
        models = [opened(code_bundle(tmp_path / f"b{factor}", factor), trust=True) for factor in (2, 3)]
        assert sys.modules["scripts"] is before
        assert "scripts.net" not in sys.modules
    finally:
        del sys.modules["scripts"]
    assert sys.path == path
    for factor, model in zip((2, 3), models, strict=True):
        torch.testing.assert_close(model.network()(image), plain * factor)


def test_code_of_a_bundle_runs_only_with_trust_and_enters_its_digest(tmp_path):
    folder = code_bundle(tmp_path / "b", 2)
    with pytest.raises(InputError, match=r"must name a network class of monai.* got scripts\.net\.Net; trust=true"):
        opened(folder)
    assert "scripts" not in sys.modules
    digests = [instantiate(recognise(folder, trust=True)).digest()]
    (folder / "scripts" / "factor.py").write_text("FACTOR = 5\n", encoding="utf-8")
    digests.append(instantiate(recognise(folder, trust=True)).digest())
    assert digests[0] != digests[1]


@pytest.mark.parametrize("size", ["@a0", 9])
def test_references_that_grow_without_end_are_refused(tmp_path, size):
    folder = write_bundle(tmp_path / "b")
    if size == "@a0":
        changed(folder, {"channels": size}, **{f"a{i}": [f"@a{i + 1}"] * 9 for i in range(12)})
    else:  # YAML's own references
        lists = [f"a0: &a0 {[1] * size}", *(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * size)}]" for i in range(12))]
        text = "\n".join((*lists, "network_def: {_target_: UNet, channels: *a12}"))
        (folder / "configs" / "inference.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="references to more than 100,000 values"):
        opened(folder)


def test_a_failing_config_is_one_line_that_ends_in_its_reason(tmp_path):
    folder = code_bundle(tmp_path / "b", 2)
    (folder / "scripts" / "net.py").write_text("raise AssertionError\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"problem in scripts\.net - AssertionError$"):
        opened(folder, trust=True)


def test_a_bundle_with_a_torchscript_program_only_is_named(tmp_path):
    folder = write_bundle(tmp_path / "b")
    (folder / "models" / "model.pt").unlink()
    torch.jit.script(torch.nn.Conv3d(1, 1, 1)).save(folder / "models" / "model.ts")
    with pytest.raises(
        InputError, match=r"without a weights file in models; models/model\.ts is a TorchScript program"
    ):
        opened(folder)
    with pytest.raises(InputError, match=r"models/model\.ts is a TorchScript program"):
        recognise_pool(folder)


# --- preparation ---


def described(tmp_path, items, *, channels: int = 1, dims: int = 3, **values):
    content = {
        "image_key": "image",
        "pixdim": [1.5, 1.5, 2.0],
        "preprocessing": {"_target_": "Compose", "transforms": items},
    }
    path = tmp_path / "inference.json"
    path.write_text(json.dumps(content | values), encoding="utf-8")
    return bundle_preparation([path], channels=channels, dims=dims)


def volume(channels: int = 1, directions: str = "") -> Volume:
    generator = np.random.default_rng(0)
    image = generator.normal(50, 200, (channels, 6, 8, 10)).astype(np.float32)
    image[:, :2] = 0  # a border of zeros, as around a brain
    return Volume(image, np.zeros((6, 8, 10), dtype=np.int16), (2.0, 1.0, 0.5), directions)


@pytest.mark.parametrize(
    ("item", "channels"),
    [
        (RANGE, 1),
        (RANGE | {"b_min": -1}, 1),
        (RANGE | {"clip": False, "b_max": 5}, 2),
        ({"_target_": "NormalizeIntensityd", "keys": ["image"], "nonzero": True, "channel_wise": True}, 2),
        ({"_target_": "monai.transforms.NormalizeIntensityd", "keys": ["image"]}, 1),
        ({"_target_": "NormalizeIntensityD", "keys": "image", "subtrahend": 40, "divisor": 30.5}, 1),
        ({"_target_": "ScaleIntensityd", "keys": "image"}, 1),
    ],
)
def test_intensities_equal_those_of_monai(tmp_path, item, channels):
    result = described(tmp_path, [*LOAD, item], channels=channels)
    data = volume(channels)
    settings = {name: value for name, value in item.items() if name not in {"_target_", "keys"}}
    transform = getattr(transforms, item["_target_"].rpartition(".")[2][:-1])(**settings)
    expected = np.asarray(transform(data.image.transpose(0, 3, 2, 1).copy()))
    np.testing.assert_allclose(result.preparation(data).image, expected, rtol=1e-4, atol=1e-5)
    assert result.notes[0].startswith(f"prepared as inference.json says: {item['_target_'].rpartition('.')[2]}")


def test_spacing_follows_references_and_what_is_left_is_named(tmp_path):
    left = [
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "CropForegroundd", "keys": "image", "source_key": "image"},
        {"_target_": "Resized", "keys": "label", "spatial_size": [8, 8, 8]},
    ]
    result = described(tmp_path, [*LOAD, *left, SPACING, RANGE])
    assert result.preparation.spacing == (1.5, 1.5, 2.0)
    assert result.preparation.unknown == ()
    assert result.notes == (
        "prepared as inference.json says: ScaleIntensityRanged, Spacingd, Orientationd RAS",
        "not taken of the transforms in inference.json: CropForegroundd",
    )


AFFINES = {
    "LPS": np.diag([-0.5, -1.0, 2.0, 1.0]),
    "PIR": np.array([[0, 0, 2.0, 0], [-0.5, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("directions", AFFINES)
@pytest.mark.parametrize("axcodes", ["RAS", "SLP"])
def test_an_orientation_equals_that_of_monai(tmp_path, directions, axcodes):
    turning = {"_target_": "Orientationd", "keys": "image", "axcodes": axcodes}
    result = described(tmp_path, [*LOAD, turning])
    data = volume(directions=directions)
    stored = MetaTensor(data.image.transpose(0, 3, 2, 1).copy(), affine=AFFINES[directions])
    expected = transforms.Orientation(axcodes=axcodes)(stored)
    made = result.preparation(data)
    np.testing.assert_array_equal(made.image, np.asarray(expected))
    assert made.spacing == pytest.approx(tuple(float(mm) for mm in expected.pixdim))
    assert made.labels.shape == made.image.shape[1:]


@pytest.mark.parametrize(
    ("settings", "where", "orientation"),
    [
        ({"axcodes": "RAS"}, 0, "RAS"),
        ({"axcodes": ["L", "P", "S"]}, 0, "LPS"),
        ({"axcodes": None, "as_closest_canonical": True}, 0, "RAS"),
        ({"axcodes": "$'RAS'"}, 0, None),
        ({"axcodes": "RAS"}, 1, None),  # a spacing along the axes as they are stored
    ],
)
def test_an_orientation_is_taken_where_it_is_a_plain_value_before_the_spacing(tmp_path, settings, where, orientation):
    turning = {"_target_": "Orientationd", "keys": "image"} | settings
    items = [turning, SPACING] if where == 0 else [SPACING, turning]
    result = described(tmp_path, [*LOAD, *items, RANGE])
    assert result.preparation.orientation == orientation
    assert any("Orientationd" in note and note.startswith("not taken") for note in result.notes) == (
        orientation is None
    )
    target = Preparation()
    assert follow(result.preparation, target, spacing="source").orientation == orientation
    assert follow(result.preparation, target).orientation is None


@pytest.mark.parametrize(
    ("items", "unknown", "left"),
    [
        ([SPACING, {"_target_": "scripts.Own", "keys": "image"}], ("intensities",), "Own"),
        ([SPACING | {"pixdim": "$[1, 1, 1]"}, RANGE], ("spacing",), "Spacingd"),
        (
            [SPACING, {"_target_": "Resized", "keys": "image", "spatial_size": 8}, RANGE],
            ("spacing",),
            "Spacingd, Resized",
        ),
        ([RANGE, {"_target_": "NormalizeIntensityd", "keys": "image"}], ("intensities",), "NormalizeIntensityd"),
        ([RANGE | {"a_max": "$1 + 1"}, SPACING], ("intensities",), "ScaleIntensityRanged"),
        (["$monai.transforms.Spacing()", SPACING], ("intensities",), "an expression"),
    ],
)
def test_what_is_no_plain_value_stays_unknown_and_follows_the_target(tmp_path, items, unknown, left):
    result = described(tmp_path, [*LOAD, *items])
    assert result.preparation.unknown == unknown
    assert left in result.notes[-1]
    target = Preparation(spacing=(9.0, 9.0, 9.0))
    chosen = follow(result.preparation, target, intensities="source", spacing="source")
    assert chosen.unknown == ()
    taken = chosen.normalisation if "intensities" in unknown else chosen.spacing
    assert taken == (target.normalisation if "intensities" in unknown else target.spacing)


def test_transforms_of_the_training_config_are_read_where_inference_has_none(tmp_path):
    folder = changed(
        write_bundle(tmp_path / "b"),
        {},
        image_key="image",
        train={"deterministic_transforms": [*LOAD, RANGE]},
        validate={"preprocessing": {"_target_": "Compose", "transforms": "%train::deterministic_transforms"}},
    )
    model = opened(folder)
    assert isinstance(model.preparation.normalisation, ChannelSchemes)
    assert "prepared as train.json says: ScaleIntensityRanged" in model.notes


def test_a_bundle_without_plain_transforms_says_so(tmp_path):
    model = opened(write_bundle(tmp_path / "b"))
    assert model.preparation is None
    assert "not taken: its transforms, since no config lists them as plain values" in model.notes


def test_the_classes_with_former_arguments_are_those_of_monai():
    from benchmark.sources.weights.former_arguments import FORMER

    assert all(hasattr(nets, name) for name in FORMER)
