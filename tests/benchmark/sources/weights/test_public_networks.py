"""Files in the form of public releases, opened as sources: they compute what the public class computes."""

import re
from dataclasses import dataclass, field
from functools import cache, partial
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from monai.networks import nets

from benchmark.errors import InputError
from benchmark.sources.networks.batch_statistics_unet import BatchStatisticsNorm, UNet3D
from benchmark.sources.networks.mednext import MedNeXtV1
from benchmark.sources.networks.skeleton import skeleton
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.sources.weights.families import FAMILIES, guess
from tests.benchmark.sources.weights.check_weights import check_model, facts_of, filled, layout_digest, save_as_public
from tests.benchmark.sources.weights.drawn_settings import SIGNATURES, build

TRAINING = {"optimizer": {"state": {}, "param_groups": []}, "scheduler": {"last_epoch": 2100}, "epoch": 2100}
TEXT_HEAD = {
    "organ_embedding": (32, 512), "precls_conv.0.weight": (64,), "precls_conv.2.weight": (8, 64, 1, 1, 1),
    "GAP.0.weight": (512,), "GAP.3.weight": (256, 512, 1, 1, 1), "controller.weight": (153, 512, 1, 1, 1),
    "controller.bias": (153,), "text_to_vision.weight": (256, 512),
}  # fmt: skip
SUPREM = {"prefix": "module.backbone.", "wrapper": "net", "others": TRAINING,
          "extras": {f"module.{name}": torch.ones(shape) for name, shape in TEXT_HEAD.items()}}  # fmt: skip
GENESIS = {"prefix": "module.", "wrapper": "state_dict", "others": {"epoch": 620, "optimizer_state_dict": {}},
           "extras": {"module.out_tr.final_conv.weight": torch.ones(1, 64, 1, 1, 1),
                      "module.out_tr.final_conv.bias": torch.ones(1)}}  # fmt: skip
WITHOUT_HEAD = "no segmentation head, since"
BATCH_STATISTICS = "normalises with the statistics of its input in evaluation, too"
RATIOS = {"S": [2] * 9, "B": [2, 3, 4, 4, 4, 4, 4, 3, 2], "L": [3, 4, 8, 8, 8, 8, 8, 4, 3]}
RATIOS["M"] = RATIOS["B"]
BLOCKS = {"S": [2] * 9, "B": [2] * 9, "M": [3, 4, 4, 4, 4, 4, 4, 4, 3], "L": [3, 4, 8, 8, 8, 8, 8, 4, 3]}
MILLIONS = {("S", 3): 5.6, ("B", 3): 10.5, ("M", 3): 17.6, ("L", 3): 61.8,
            ("S", 5): 5.9, ("B", 5): 11.0, ("M", 5): 18.3, ("L", 5): 63.0}  # fmt: skip


def mednext(size="S", kernel=3, **settings):
    """MedNeXt as its authors build it, with MONAI's names."""
    ratios, blocks = RATIOS[size], BLOCKS[size]
    return MedNeXtV1(
        down_expansion_ratio=ratios[1:5],
        encoder_expansion_ratio=ratios[:4],
        bottleneck_expansion_ratio=ratios[4],
        decoder_expansion_ratio=ratios[5:],
        blocks_down=blocks[:4],
        blocks_bottleneck=blocks[4],
        blocks_up=blocks[5:],
        kernel_size=kernel,
        use_residual_connection=True,
        **settings,
    )


def names_of_mic_dkfz(tensors):
    """The names in the authors' class, which counts the levels of the decoder from the finest."""
    renamed = {"dummy_tensor": torch.zeros(1)}
    for name, tensor in tensors.items():
        public = re.sub(r"^enc_stages\.", "enc_block_", re.sub(r"^down_blocks\.", "down_", name))
        public = re.sub(r"^up_blocks\.(\d)", lambda match: f"up_{3 - int(match[1])}", public)
        public = re.sub(r"^dec_stages\.(\d)", lambda match: f"dec_block_{3 - int(match[1])}", public)
        renamed[re.sub(r"^out_blocks\.(\d)", lambda match: f"out_{4 - int(match[1])}", public)] = tensor
    return renamed


@dataclass(frozen=True)
class Public:
    """A public file: its facts, the network in it, the form of the file, and what its user reads.

    Attributes:
        facts: The file of facts and the check in it.
        network: Builds the network of the file.
        head: The start of the names of the head, if the file has none.
        form: Arguments of `save_as_public`.
        recognised: The network's name in the notes.
        says: Further notes begin so, or contain it.
        settings: Those that the user gives.
        modules: Name in the public class -> name in the network that is built.
    """

    facts: tuple
    network: object
    recognised: str
    head: str = "none"
    form: dict = field(default_factory=dict)
    says: tuple = ()
    settings: dict = field(default_factory=dict)
    modules: dict = field(default_factory=dict)


def suprem_unet():
    return UNet3D(1, 1)


def swin_unetr():
    return nets.SwinUNETR(in_channels=1, out_channels=2, feature_size=48)


PUBLIC = {
    "SuPreM's U-Net": Public(
        ("unet3d_suprem_genesis", "headless"),
        suprem_unet,
        "UNet3D",
        head="out_tr.",
        form=SUPREM,
        says=(WITHOUT_HEAD, BATCH_STATISTICS, "act = relu", "not used: organ_embedding"),
    ),
    "Models Genesis' U-Net": Public(
        ("unet3d_suprem_genesis", "headless"),
        suprem_unet,
        "UNet3D",
        head="out_tr.",
        form=GENESIS,
        says=(WITHOUT_HEAD, BATCH_STATISTICS, "act = relu", "a head with one output restores the image"),
    ),
    "SuPreM's SegResNet": Public(
        ("segresnet_suprem", "check"),
        lambda: nets.SegResNet(init_filters=16, blocks_down=(1, 2, 2, 4), out_channels=25),
        "SegResNet",
        form=SUPREM | {"prefix": "module.", "extras": {}},
        says=("norm = ('group', {'num_groups': 8})",),
    ),
    "SuPreM's Swin UNETR": Public(
        ("swinunetr_suprem", "check"),
        swin_unetr,
        "SwinUNETR",
        head="out.",
        form=SUPREM,
        says=(WITHOUT_HEAD, "merging = monai_1.4: the file has SuPreM's text-driven head"),
    ),
    "a Swin UNETR with MONAI's present merging": Public(
        ("swinunetr_suprem", "monai_1_6_1"),
        swin_unetr,
        "SwinUNETR",
        head="out.",
        form=SUPREM,
        says=(WITHOUT_HEAD,),
        settings={"merging": "monai_1.5"},
    ),
    "MedNeXt S": Public(
        ("mednext_s_k3", "check"),
        lambda: mednext(out_channels=14, deep_supervision=True),
        "MedNeXtV1",
        form={"wrapper": "state_dict", "others": {"epoch": 1000, "plot_stuff": ([], []), "best_stuff": (0.5,)}},
        says=("norm_type = group", "not used: dummy_tensor"),
        modules={f"dec_block_{level}": f"dec_stages.{3 - level}" for level in range(3)},
    ),
}


@cache
def weights_of(network, head, *, mic_dkfz):
    """The weights of a public file: those of its network, without those of the head if it has none."""
    state = {name: tensor for name, tensor in network().state_dict().items() if not name.startswith(head)}
    return filled(names_of_mic_dkfz(state) if mic_dkfz else state)


@pytest.mark.parametrize("public", PUBLIC.values(), ids=PUBLIC)
def test_it_computes_what_the_public_class_computes(public, tmp_path):
    family, check = public.facts
    facts = facts_of(family)
    weights = weights_of(public.network, public.head, mic_dkfz=bool(public.modules))
    assert layout_digest(weights) == facts["layout"]
    path = save_as_public(tmp_path / "public.pth", weights, **public.form)
    model = instantiate(recognise(path) | {"settings": public.settings}).open()
    check_model(model, facts["checks"][check], public.modules)
    stages = [stage["module"] for stage in facts["checks"][check]["decoder_stages"]]
    assert list(reversed(model.arch.taps)) == [public.modules.get(stage, stage) for stage in stages]
    assert model.head == (public.head == "none")
    assert f"recognised as {public.recognised} by its weights" in model.notes
    assert all(any(text in note for note in model.notes) for text in public.says), model.notes


def test_the_head_of_models_genesis_computes_what_its_class_computes():
    network = UNet3D(1, 1)
    network.load_state_dict(filled(network.state_dict()))
    check_model(SimpleNamespace(network=network.eval), facts_of("unet3d_suprem_genesis")["checks"]["with_head"])


def test_statistics_are_those_of_a_window_in_evaluation_and_of_the_batch_in_training():
    norm = BatchStatisticsNorm(2)
    batch = torch.randn(3, 2, 4, 4, 4) * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1, 1)
    assert norm.train()(batch).std(dim=(0, 2, 3, 4), correction=0).tolist() == pytest.approx([1, 1], abs=1e-4)
    running = norm.running_mean.clone()
    torch.testing.assert_close(norm.eval()(batch), torch.cat([norm(item[None]) for item in batch]))
    assert norm(batch).std(dim=(2, 3, 4), correction=0).flatten().tolist() == pytest.approx([1] * 6, abs=1e-4)
    assert torch.equal(running, norm.running_mean)


def test_a_head_of_several_classes_is_kept(tmp_path):
    network = UNet3D(2, 3, act="prelu").eval()
    model = StateDictSource("tuned", save_as_public(tmp_path / "tuned.pth", network.state_dict())).open()
    assert (model.head, model.channels, model.classes) == (True, 2, 3)
    assert_same(model, network, torch.randn(1, 2, 16, 16, 16))


@pytest.mark.parametrize(("size", "kernel"), MILLIONS)
def test_mednext_has_as_many_parameters_as_its_paper_says(size, kernel):
    network = skeleton(lambda in_channels, out_channels: mednext(size, kernel), channels=1, classes=2)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(
        MILLIONS[size, kernel], abs=0.1
    )


@pytest.mark.parametrize(("size", "kernel"), [("B", 5), ("L", 3)])
def test_larger_sizes_of_mednext_are_rebuilt(size, kernel, tmp_path):
    network = mednext(size, kernel, init_filters=4, out_channels=3).eval()
    weights = filled(network.state_dict())
    network.load_state_dict(weights)
    path = save_as_public(tmp_path / "mednext.pth", names_of_mic_dkfz(weights), wrapper="state_dict")
    model = StateDictSource("mednext", path).open()
    assert_same(model, network, torch.randn(1, 1, 32, 32, 32))
    assert model.arch.taps == ("dec_stages.1", "dec_stages.2", "dec_stages.3")


def assert_same(model, network, image):
    """Compare the logits; the network of a source has its weights in channels-last format, which rounds otherwise."""
    with torch.no_grad():
        expected = network(image)
        expected = expected[-1] if isinstance(expected, list) else expected
        flat = image.ndim == 4
        logits = model.network()(image.unsqueeze(2) if flat else image)
    logits = logits.squeeze(2) if flat else logits
    assert logits.shape == expected.shape
    assert float((logits - expected).abs().max() / expected.abs().max()) < 3e-5


# --- MONAI's networks ---

MONAI = [
    ("SegResNetDS", {"init_filters": 8, "blocks_down": [1, 2, 2], "norm": "instance", "dsdepth": 2}),
    ("SegResNetDS", {"init_filters": 4, "blocks_down": [1, 1, 1], "blocks_up": [2, 1], "act": "prelu", "norm": "batch",
                     "resolution": [1, 1, 5], "upsample_mode": "nontrainable"}),
    ("SegResNetDS", {"init_filters": 4, "blocks_down": [0, 1, 1, 1], "resolution": [2.5, 1, 1], "norm": "batch"}),
    ("SegResNetDS", {"init_filters": 4, "blocks_down": [1, 2], "spatial_dims": 2, "upsample_mode": "pixelshuffle"}),
    ("MedNeXt", {"init_filters": 4, "kernel_size": 5, "deep_supervision": True, "encoder_expansion_ratio": [2, 3],
                 "decoder_expansion_ratio": [3, 2], "blocks_down": [1, 2], "blocks_up": [2, 1]}),
    ("MedNeXt", {"init_filters": 4, "kernel_size": 3, "use_residual_connection": True, "global_resp_norm": True,
                 "bottleneck_expansion_ratio": 4, "blocks_bottleneck": 1}),
    ("AttentionUnet", {"spatial_dims": 3, "channels": [4, 8, 16], "strides": [2, 2], "kernel_size": 5}),
    ("AttentionUnet", {"spatial_dims": 2, "channels": [4, 8, 8, 16], "strides": [2, 2, 2], "up_kernel_size": 5}),
    ("BasicUNetPlusPlus", {"features": [4, 4, 8, 8, 16, 4], "deep_supervision": True}),
    ("BasicUNetPlusPlus", {"features": [4, 8, 8, 8, 16, 8], "act": "prelu", "norm": "batch", "bias": False,
                           "upsample": "nontrainable"}),
    ("FlexibleUNet", {"backbone": "resnet10", "spatial_dims": 3, "decoder_channels": [16, 8, 8, 4, 4]}),
    ("FlexibleUNet", {"backbone": "resnet50", "spatial_dims": 2, "decoder_channels": [16, 8, 8, 4, 4],
                      "decoder_bias": True, "act": "prelu", "norm": ("instance", {"affine": True})}),
    ("FlexibleUNet", {"backbone": "efficientnet-b2", "spatial_dims": 2, "upsample": "deconv"}),
    ("FlexibleUNet", {"backbone": "efficientnet-b0", "spatial_dims": 2, "pre_conv": None}),
]  # fmt: skip
HIDDEN = {"strides", "norm", "deep_supervision", "dsdepth", "resolution"}  # assumed, of no use, or of the same ratio
HEADS = {"SegResNetDS": 1, "MedNeXt": 1, "AttentionUnet": 1, "BasicUNetPlusPlus": 4, "FlexibleUNet": 1}


@pytest.mark.parametrize(("name", "settings"), MONAI, ids=[f"{name}{at}" for at, (name, _) in enumerate(MONAI)])
def test_a_network_of_monai_is_rebuilt_from_its_tensors(name, settings, tmp_path):
    network = getattr(nets, name)(in_channels=1, out_channels=3, **settings).eval()
    network.load_state_dict(filled(network.state_dict()))
    path = save_as_public(tmp_path / "mine.pt", network.state_dict(), prefix="net.")
    model = StateDictSource("mine", path).open()
    shown = guess(network.state_dict(), source="mine", given={}).settings
    for setting, value in settings.items():
        if setting not in HIDDEN:
            assert as_lists(shown[setting]) in (
                as_lists(value),
                [value] * model.arch.dims,
                (value, {"num_parameters": 1}),
            )
    assert_same(model, network, torch.randn(1, 1, *model.arch.fit((4, 8, 40))[-model.arch.dims :]))
    assert len(model.arch.head) == HEADS[name]
    assert all(model.network().get_submodule(tap) is not None for tap in model.arch.taps)


def as_lists(value):
    return list(value) if isinstance(value, tuple) and isinstance(value[0], int) else value


# --- which network it is ---

BUILT = {
    **{name: partial(build, name, {}) for name in SIGNATURES},
    **{name: partial(getattr(nets, name), in_channels=1, out_channels=3, **settings) for name, settings in MONAI},
    "UNet3D": partial(UNet3D, 1, 3),
    "MedNeXtV1": partial(mednext, init_filters=4),
}
VISTA3D = {"image_encoder.encoder.conv_init.weight", "image_encoder.up_layers_auto.0.blocks.0.conv1.weight"}
VISTA3D_HEAD = {"class_head.class_embeddings.weight"}
MEDICALNET = {"module.conv1.weight", "module.layer1.0.conv1.weight"}


@pytest.mark.parametrize("family", BUILT)
def test_a_mark_matches_no_other_family(family):
    names = set(skeleton(lambda in_channels, out_channels: BUILT[family](), channels=1, classes=3).state_dict())
    names = names_of_mic_dkfz(dict.fromkeys(names)) if family == "MedNeXtV1" else names
    prefixed = [f"module.{name}" for name in names]
    known = {
        other for other, facts in FAMILIES.items() for name in prefixed if re.fullmatch(rf"(.+\.)?{facts.mark}", name)
    }
    assert known == {family}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (VISTA3D | VISTA3D_HEAD, "the weights are those of VISTA3D, not read: its output depends on prompts"),
        (VISTA3D, "the weights are those of SegResNetDS2, the image encoder of VISTA3D, not read: it has two decoders"),
        (MEDICALNET | {"module.conv_seg.0.weight"}, r"the weights are those of MedicalNet's .+ no decoder stages"),
        (MEDICALNET, r"the file contains only an encoder \(a ResNet, such as MedicalNet's\)"),
        (
            {"organ_embedding", "controller.weight"},
            r"the weights are those of SuPreM's text-driven head without its network.+ \*_backbone\.pth",
        ),
        ({"down_tr64.ops.0.conv1.weight"}, r"the file contains only an encoder \(UNet3D\)"),
        ({"module._conv_stem.weight"}, r"the file contains only an encoder \(an EfficientNet\)"),
        ({"conv_0_0.conv_0.conv.weight"}, r"the file contains only an encoder \(BasicUNetPlusPlus\)"),
        (
            {"enc_block_0.0.conv1.weight", "up_3.a"},
            "the weights are not a whole MedNeXtV1: 'stem.weight' is missing",
        ),
    ],
)
def test_what_is_not_read_is_named(names, message, tmp_path):
    path = save_as_public(tmp_path / "mine.pth", {name: torch.ones(2, 1, 3, 3, 3) for name in names})
    with pytest.raises(InputError, match=f"^source mine: {message}"):
        StateDictSource("mine", path).open()


def test_an_unknown_backbone_is_refused(tmp_path):
    network = nets.FlexibleUNet(1, 2, "resnet10", spatial_dims=2, decoder_channels=(4, 4, 4, 4, 4))
    weights = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("encoder.layer3.")}
    path = save_as_public(tmp_path / "mine.pth", weights)
    with pytest.raises(InputError, match=r"an encoder of MONAI's .* 1, 1, 0, 1 basic blocks"):
        StateDictSource("mine", path).open()
