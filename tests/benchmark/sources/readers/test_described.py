"""Settings next to a weights file: what they change, what is refused in one line, and what they run."""

import re
import sys
from pathlib import Path

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from hydra.utils import instantiate
from monai.networks import nets
from omegaconf import OmegaConf
from torch import nn

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.errors import InputError
from benchmark.jobs.stage_keys import source_key
from benchmark.sources.readers.recognise import recognise, recognise_pool
from benchmark.sources.readers.settings_fields import FIELDS
from benchmark.sources.readers.settings_writing import schema_table, write_settings
from tests.checkpoints import SMALL, small_network, write_bundle, write_nnunet, write_weights

UNET = {"spatial_dims": 3, **SMALL["UNet"]}


def unet(folder: Path, settings: str = "", *, name: str = "unet.yaml") -> Path:
    path = write_weights(small_network("UNet"), folder / "unet.pt")
    if settings:
        (folder / name).write_text(settings, encoding="utf-8")
    return path


def opened(path, **settings):
    return instantiate(recognise(path, **settings)).open()


def key_of(path):
    return source_key(OmegaConf.create(recognise(path)))


def output(model):
    side = 64 if "swin" in model.arch.name else 32  # instance norm needs more than one voxel in the deepest map
    image = torch.randn(1, 1, side, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model.network()(image)


DATA = """
labels: {0: background, 1: liver, 2: tumour}
patch: [32, 48, 32]
spacing: [0.8, 0.8, 2]
intensities: {window: [-160, 240]}
"""


@pytest.mark.parametrize(("name", "indent"), [("unet.yaml", ""), ("unet.yml", ""), ("sources.yaml", "  ")])
def test_settings_of_either_file_become_the_sources_own(tmp_path, name, indent):
    text = DATA.replace("\n", f"\n{indent}")
    path = unet(tmp_path, f"unet.pt:{text}" if indent else text, name=name)
    for model in (
        opened(path),
        opened(tmp_path),
        *(instantiate(node).open() for node in recognise_pool(path).nodes.values()),
    ):
        assert model.labels == {0: "background", 1: "liver", 2: "tumour"}
        assert model.patch == (32, 48, 32)
        assert (model.preparation.spacing, model.preparation.normalisation) == (
            (0.8, 0.8, 2.0),
            Normalisation((-160, 240)),
        )
        assert re.fullmatch(
            r"given by (unet.ya?ml|sources.yaml: unet.pt): labels, patch, spacing, intensities", model.notes[0]
        )


def test_what_is_not_given_stays_unknown(tmp_path):
    model = opened(unet(tmp_path, "spacing: [1, 1, 3]"))
    assert model.preparation.unknown == ("intensities",)


def test_a_changed_yaml_is_another_source(tmp_path):
    keys = [key_of(unet(tmp_path, text)) for text in ("", "patch: [32, 32, 32]", "patch: [48, 48, 48]")]
    assert len(set(keys)) == 3


def test_a_prefix_chooses_between_networks_in_rank_too(tmp_path):
    networks = {name: small_network("UNet", seed=seed) for seed, name in enumerate(("student", "teacher"))}
    torch.save(nn.ModuleDict(networks).state_dict(), tmp_path / "pair.pt")
    with pytest.raises(InputError, match=r"say which by `prefix:` in a yaml next to the file \(inspect --schema\)"):
        opened(tmp_path / "pair.pt")
    (tmp_path / "pair.yaml").write_text("prefix: teacher", encoding="utf-8")  # the dot may be left out
    (node,) = recognise_pool(tmp_path).nodes.values()
    model = instantiate(node).open()
    image = torch.ones(1, 1, 32, 32, 32)
    torch.testing.assert_close(model.network()(image), networks["teacher"](image))


def test_a_network_of_monai_is_built_from_its_settings(tmp_path):
    text = f"network: UNet\nsettings: {UNET | {'norm': 'batch'}}"
    network = instantiate(
        {"_target_": "monai.networks.nets.UNet", "in_channels": 1, "out_channels": 3, **UNET, "norm": "batch"}
    )
    torch.save(network.state_dict(), tmp_path / "unet.pt")
    (tmp_path / "unet.yaml").write_text(text, encoding="utf-8")
    model = opened(tmp_path / "unet.pt")
    image = torch.ones(1, 1, 32, 32, 32)
    torch.testing.assert_close(model.network()(image), network.eval()(image))
    assert "assumed" not in model.facts


PLAIN = {
    "n_stages": 3, "features_per_stage": [4, 8, 16], "kernel_sizes": 3, "strides": [1, 2, 2], "n_conv_per_stage": 1,
    "n_conv_per_stage_decoder": 1, "norm_op_kwargs": {"affine": True, "eps": 1e-5},
}  # fmt: skip
LAYERS = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "nonlin": nn.LeakyReLU}


def test_a_network_of_nnunet_takes_layers_by_name(tmp_path):
    network = PlainConvUNet(input_channels=1, num_classes=3, **PLAIN, **LAYERS).eval()
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    settings = PLAIN | {name: f"torch.nn.{layer.__name__}" for name, layer in LAYERS.items()}
    (tmp_path / "plain.yaml").write_text(f"network: PlainConvUNet\nsettings: {settings}", encoding="utf-8")
    model = opened(tmp_path / "plain.pt")
    image = torch.ones(1, 1, 32, 32, 32)
    torch.testing.assert_close(model.network()(image), network(image))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prefx: a.", r"unet\.yaml: unknown field `prefx`; did you mean `prefix`; .*--schema"),
        ("labels: {0: a}\npixels: 3", r"unet\.yaml: unknown field `pixels`; known are network, factory"),
        ("patch: [96, a]", r"unet\.yaml: `patch` must be 2 or 3 whole numbers, such as .*, got \[96, 'a'\]"),
        ("labels: {1: no}", r"`labels` must be mapping of whole numbers to names"),
        ("spacing: 1.5", r"`spacing` must be 2 or 3 positive numbers"),
        ("ema: 1", r"`ema` must be true or false"),
        ("intensities: {window: [3, 1]}", r"`intensities` must be zscore, \{window: \[low, high\]\}"),
        ("intensities: [{name: Foo}]", r"`intensities` has a scheme that cannot be used: .*got Foo"),
        ("labels: {0: a, 1: b}", r"`labels` must name the head's 3 channels, got 2"),
        ("patch: [1", r"cannot read \S+unet\.yaml as YAML: line 1: .*; it is read as the settings of unet\.pt"),
        ("prefix: a\nprefix: b", r"'prefix' is given twice"),
        ("network: Unknown", r"unet\.yaml: `network` must name a network class of monai\.networks\.nets"),
        ("network: UNet\nfactory: a:b", r"`network` and `factory` are both given"),
        ("network: UNet\nsettings: {spatial_dims: 3}", r"UNet does not take the settings .*: TypeError"),
        ("fixed: true", r"`fixed` needs `patch`"),
        ("prefix: other.", r"`prefix` must start the names of tensors, which start with model\., got 'other\.'"),
        ("dims: 2", r"`dims` needs `network` or `factory`"),
        ("fixed: true\npatch: [32, 32, 32]", r"`fixed` needs `network` or `factory`"),
        ("settings: {in_channels: 2}", r"`settings\.in_channels` must be 1, as the weights show, or be left out"),
        ("spacing: [1, 1]", r"`spacing` must have 3 numbers, got \[1, 1\]"),
        ("spacing: [.inf, 1, 1]", r"`spacing` must be 2 or 3 positive numbers"),
        ("intensities: [{name: NoNormalization}, {name: ZScoreNormalization}]", r"a scheme for each of 1 channels"),
        ("intensities: [{name: CTNormalization, mean: a, std: 1, low: 0, high: 1}]", r"`intensities` must be zscore"),
        ("intensities: [{name: CTNormalization, mean: 1, std: 1, low: 2, high: 1}]", r"needs std >= 0 and low <= high"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_line_that_names_file_and_field(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        opened(unet(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("settings: {act: {_target_: os.mkdir, path: TRACE}}", r"settings\.act must be .*, got an object of os\.mkdir"),
        ("settings: {act: '${oc.env:HOME}'}", r"settings\.act must be a plain value, got \$\{oc\.env:HOME\}"),
        ("prefix: ${oc.env:HOME}", r"prefix must be a plain value"),
        ("factory: my_code:make", r"`factory` runs the code of my_code:make, which needs trust=true"),
        ("network: my_code.Net", r"`network` must name .* got my_code\.Net; trust=true allows others"),
        ("settings: {norm: torch.nn.functional.relu}", r"settings\.norm must name a network class of torch\.nn"),
        ("patch: &a [*a]", r"too large or too deep"),
    ],
)  # fmt: skip
def test_nothing_in_a_yaml_runs_without_trust(tmp_path, monkeypatch, text, message):
    trace = tmp_path / "trace"
    (tmp_path / "my_code.py").write_text(f"import os\nos.mkdir({str(trace)!r})\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message):
        opened(unet(tmp_path, text.replace("TRACE", str(trace))))
    assert not trace.exists()
    assert "my_code" not in sys.modules


def test_a_trusted_factory_builds_the_network(tmp_path, monkeypatch):
    code = "from monai.networks.nets import UNet\n\ndef make(**settings):\n    return UNet(**settings)\n"
    (tmp_path / "my_factory.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = unet(tmp_path, f"factory: my_factory:make\nsettings: {UNET}")
    torch.testing.assert_close(output(opened(path, trust=True)), output(opened(unet(tmp_path / "plain"))))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "model: {}\ntrainer: {}\npatch: 3",
            r"unet\.yaml is not used: its fields model, trainer are not those of a source",
        ),
        ("_target_: monai.networks.nets.UNet\nchannels: [4]", r"not used: its fields _target_, channels"),
        ("!!python/object/apply:os.mkdir [TRACE]", r"not used: it has tags that name classes, which are not created"),
        ("- 1", r"not used: it is a list, not a mapping"),
        ("# nothing yet", r"not used: it is empty"),
    ],
)
def test_a_yaml_of_another_program_is_left_with_a_note(tmp_path, text, note):
    plain = opened(unet(tmp_path))
    model = opened(unet(tmp_path, text.replace("TRACE", str(tmp_path / "trace"))))
    assert re.search(note, model.notes[-1])
    assert model.notes[:-1] == plain.notes
    assert not (tmp_path / "trace").exists()


def test_two_files_with_settings_are_refused(tmp_path):
    path = unet(tmp_path, "patch: [32, 32, 32]")
    (tmp_path / "sources.yaml").write_text("unet.pt: {patch: [48, 48, 48]}", encoding="utf-8")
    with pytest.raises(InputError, match=r"has settings in \S+unet\.yaml and in \S+sources\.yaml: unet\.pt; keep one"):
        opened(path)


def test_an_entry_without_its_file_is_named(tmp_path):
    path = unet(tmp_path, "unett.pt: {patch: [32, 32, 32]}", name="sources.yaml")
    message = "the entry 'unett.pt' must be the name of a weights file in the same folder; did you mean unet.pt"
    with pytest.raises(InputError, match=message):
        recognise(path)
    pool = recognise_pool(tmp_path)
    assert (list(pool.nodes), pool.left) == (["unet"], {"sources.yaml": message})


def test_one_wrong_yaml_leaves_the_other_sources_of_a_folder(tmp_path):
    write_weights(small_network("UNet"), unet(tmp_path, "prefx: a").with_name("other.pt"))
    nodes = recognise_pool(tmp_path).nodes
    assert instantiate(nodes["other"]).open().head
    with pytest.raises(InputError, match="unknown field `prefx`"):
        instantiate(nodes["unet"]).open()


def test_a_bundle_takes_what_it_does_not_say_itself(tmp_path):
    folder = write_bundle(tmp_path / "bundle")
    (folder / "models" / "model.yaml").write_text("spacing: [1, 1, 2]", encoding="utf-8")
    for model in (opened(folder), instantiate(recognise_pool(folder).nodes["bundle"]).open()):
        assert model.preparation.spacing == (1.0, 1.0, 2.0)
    (folder / "models" / "model.yaml").write_text("prefix: a.", encoding="utf-8")
    with pytest.raises(InputError, match=r"`prefix` has no use: model\.pt is read as Bundle, which describes itself"):
        opened(folder)


@pytest.mark.parametrize("network", SMALL)
def test_a_written_yaml_gives_the_same_network_and_assumes_nothing(tmp_path, network):
    path = write_weights(small_network(network), tmp_path / "net.ckpt")
    before = opened(path)
    written = write_settings(before)
    after = opened(path)
    assert torch.equal(output(before), output(after))
    assert "assumed" not in after.facts
    assert not any("assumed" in note for note in after.notes)
    assert after.notes[0].startswith("given by net.yaml: settings.")
    with pytest.raises(InputError, match=r"net\.yaml already has settings of net\.ckpt, and is never overwritten"):
        write_settings(after)
    assert written == tmp_path / "net.yaml"


def test_all_that_is_known_of_a_source_is_written(tmp_path):
    model = opened(unet(tmp_path, DATA))
    (tmp_path / "unet.yaml").unlink()
    write_settings(model)
    again = opened(tmp_path / "unet.pt")
    assert (again.labels, again.patch, again.preparation) == (model.labels, model.patch, model.preparation)


def test_the_schema_names_every_field():
    table = schema_table()
    assert [str(cell) for cell in table.columns[0].cells] == list(FIELDS)


SETTINGS = "patch: [32, 32, 32]"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unet.YAML", SETTINGS),
        ("unet.pt.yaml", SETTINGS),
        ("sources.yml", f"unet.pt: {{{SETTINGS}}}"),
        ("Sources.yaml", f"unet.pt: {{{SETTINGS}}}"),
    ],
)
def test_settings_under_another_name_are_not_left_in_silence(tmp_path, name, text):
    model = opened(unet(tmp_path, text, name=name))
    assert model.patch is None
    way_out = "settings of unet.pt are read from unet.yaml or sources.yaml in its folder"
    assert model.notes[-1] == f"{tmp_path / name} is not used: {way_out}"


@pytest.mark.parametrize("text", [f"unet: {{{SETTINGS}}}", f"sources:\n  unet.pt: {{{SETTINGS}}}"])
def test_an_entry_that_is_no_name_of_a_weights_file_is_refused(tmp_path, text):
    with pytest.raises(InputError, match=r"the entry '(unet|sources)' must be the name of a weights file in the same"):
        recognise(unet(tmp_path, text, name="sources.yaml"))


@pytest.mark.parametrize("name", ["sources.yaml", "results.yaml", "../results.yaml"])
def test_settings_next_to_a_folder_that_describes_itself_are_not_left_in_silence(tmp_path, name):
    folder = write_bundle(tmp_path / "results")
    (folder / name).write_text(f"model.pt: {{{SETTINGS}}}" if "sources" in name else SETTINGS, encoding="utf-8")
    assert "is not used: settings of model.pt are read from model.yaml or sources.yaml" in opened(folder).notes[-1]


def test_weights_that_a_class_would_fetch_are_not_fetched(tmp_path):
    settings = {"backbone": "efficientnet-b0", "spatial_dims": 2, "decoder_channels": [16, 8, 8, 4, 4]}
    network = nets.FlexibleUNet(in_channels=1, out_channels=3, **settings)
    torch.save(network.state_dict(), tmp_path / "unet.pt")
    for text in (f"network: FlexibleUNet\nsettings: {settings | {'pretrained': True}}", "settings: {pretrained: true}"):
        (tmp_path / "unet.yaml").write_text(text.replace("True", "true"), encoding="utf-8")
        assert opened(tmp_path / "unet.pt").classes == 3


def test_ema_weights_next_to_those_of_nnunet_are_said_and_taken_on_request(tmp_path):
    path = write_nnunet(tmp_path / "Dataset501_Made") / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    averages = {name: value * 2 for name, value in content["network_weights"].items()}
    torch.save(content | {"network_weights_ema": averages}, path)
    plain = opened(path)
    assert "the EMA weights under 'network_weights_ema' are not used; the setting `ema: true` takes them" in plain.notes
    path.with_name("checkpoint_final.yaml").write_text("ema: true", encoding="utf-8")
    model = opened(path)
    assert all(torch.equal(tensor, 2 * plain.weights[name]) for name, tensor in model.weights.items())
