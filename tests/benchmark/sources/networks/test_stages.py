"""Stages of the encoder and of the decoder, of every architecture of conf/arch and of others."""

from dataclasses import replace
from functools import partial

import pytest
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.residual import BottleneckD
from hydra.utils import instantiate
from monai.networks.nets import FlexibleUNet
from torch import cat, nn
from torch.nn.functional import interpolate

from benchmark.jobs.cli import CONF
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.networks.planned_unet import plain_unet
from benchmark.sources.networks.stages import stages_of
from benchmark.sources.networks.unet_plus_plus import SingleOutputUNetPlusPlus

RESIDUAL = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "conv_op": nn.Conv3d,
    "kernel_sizes": 3,
    "strides": [1, 2, 2],
    "n_blocks_per_stage": [1, 2, 1],
    "n_conv_per_stage_decoder": 1,
    "conv_bias": True,
    "norm_op": nn.InstanceNorm3d,
    "norm_op_kwargs": {"affine": True},
    "nonlin": nn.LeakyReLU,
}
INNER = "model.1.submodule.1.submodule.1"
# encoder, fine to coarse, and decoder, coarse to fine
PAPER_UNET = [f"encoder.stages.{at}" for at in range(4)], [f"decoder.stages.{at}" for at in range(3)]
# UNETR has no map of its bottleneck: its tokens are rearranged by a function
UNETR = (
    ["encoder1", "encoder2.blocks.1", "encoder3.blocks.0", "encoder4"],
    ["decoder5", "decoder4", "decoder3", "decoder2"],
)
MONAI_UNET = (["model.0", "model.1.submodule.0", f"{INNER}.submodule"], [INNER, "model.1.submodule.1", "model.1"])
EXPECTED = {
    "dynunet": (
        ["input_block", "downsamples.0", "downsamples.1", "bottleneck"],
        ["upsamples.0", "upsamples.1", "upsamples.2"],
    ),
    "paper_unet": PAPER_UNET,
    "paper_unetr": UNETR,
    "resunet": MONAI_UNET,
    "segresnet": ([f"down_layers.{at}" for at in range(4)], [f"up_layers.{at}" for at in range(3)]),
    "swinunetr": (
        ["encoder1", "encoder2", "encoder3", "encoder4", "swinViT.layers3.0", "encoder10"],
        ["decoder5", "decoder4", "decoder3", "decoder2", "decoder1"],
    ),
    "unet": MONAI_UNET,
    "unetr": UNETR,
}


@pytest.fixture
def architecture(compose_command):
    def make(name: str) -> Architecture:
        cfg = compose_command("pretrain", "source=scratch", f"arch@source.arch={name}")
        return instantiate(cfg.source.arch)

    return make


def test_every_architecture_is_listed():
    assert set(EXPECTED) == {path.stem for path in (CONF / "arch").glob("[!_]*.yaml")}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_stages_of_an_architecture(architecture, name):
    arch = architecture(name)
    stages = stages_of(arch, channels=1, classes=3)
    assert (list(stages.encoder), list(stages.decoder)) == EXPECTED[name]
    assert stages.absent == ""
    assert set(arch.taps) <= set(stages.decoder)
    assert stages.decoder[arch.taps[-1]] == (2 * arch.width if name in {"unet", "resunet"} else arch.width)


def test_the_stages_of_a_plain_unet():
    network = partial(plain_unet, features=[4, 8, 12], strides=[1, 2, 2], convolutions=1)
    stages = stages_of(discovered("plain", network, dims=3), channels=2, classes=2)
    assert stages.encoder == {"encoder.stages.0": 4, "encoder.stages.1": 8, "encoder.stages.2": 12}
    assert stages.decoder == {"decoder.stages.0": 8, "decoder.stages.1": 4}


def test_a_decoder_that_rises_many_times_ends_the_encoder_at_its_first_rise():
    network = partial(SingleOutputUNetPlusPlus, spatial_dims=3, features=(4, 4, 8, 8, 16, 4))
    stages = stages_of(discovered("nested", network, dims=3), channels=1, classes=2)
    assert list(stages.encoder) == [f"conv_{at}_0" for at in range(5)]
    assert list(stages.decoder) == ["upcat_3_1", "upcat_2_2", "upcat_1_3", "upcat_0_4"]


class PreActivated(nn.Sequential):
    """Norm at the finer grid, then a strided convolution."""

    def __init__(self, taken, returned, stride):
        super().__init__()
        self.norm = nn.InstanceNorm3d(taken, affine=True)
        self.conv = nn.Conv3d(taken, returned, 3, stride=stride, padding=1)


class ThreeLevels(nn.Module):
    """A pre-activated U-Net, of which some parts can be no modules, or called several times."""

    def __init__(self, in_channels, out_channels, *, interpolated="", repeated=""):
        super().__init__()
        self.e0, self.e1, self.e2 = PreActivated(in_channels, 4, 1), PreActivated(4, 4, 2), PreActivated(4, 4, 2)
        self.up1, self.up0 = nn.ConvTranspose3d(4, 4, 2, 2), nn.ConvTranspose3d(4, 4, 2, 2)
        self.d1, self.d0 = nn.Conv3d(8, 4, 3, padding=1), nn.Conv3d(8, 4, 3, padding=1)
        self.head = nn.Conv3d(4, out_channels, 1)
        self.interpolated, self.repeated = interpolated, repeated

    def up(self, name, x):
        return interpolate(x, scale_factor=2) if name == self.interpolated else self.get_submodule(name)(x)

    def forward(self, x):
        fine = self.e0(x)
        middle = self.e1(fine)
        coarse = self.e2(middle)
        x = self.d1(cat([self.up("up1", coarse), middle], dim=1))
        skipped = cat([x, middle], dim=1)
        x = self.d1(skipped) if self.repeated == "d1" else x
        return self.head(self.d0(cat([self.up("up0", x), fine], dim=1)))


def three_levels(**options):
    network = partial(ThreeLevels, **options)
    taps = ("d1", "d0")
    arch = Architecture("small", network, taps=taps, decoder=(), last=(), head=("head",), width=4)
    return stages_of(arch, channels=1, classes=2)


def test_a_map_inside_a_block_that_coarsens_is_no_stage():
    stages = three_levels()
    assert (list(stages.encoder), list(stages.decoder), stages.absent) == (
        ["e0", "e1.conv", "e2.conv"],
        ["d1", "d0"],
        "",
    )


def test_the_stages_of_a_bottleneck_residual_encoder():
    arguments = RESIDUAL | {"bottleneck_channels": 2, "block": BottleneckD}

    def network(*, in_channels, out_channels):
        return ResidualEncoderUNet(input_channels=in_channels, num_classes=out_channels, **arguments)

    stages = stages_of(discovered("residual", network, dims=3), channels=1, classes=2)
    assert list(stages.encoder) == [
        "encoder.stages.0",
        "encoder.stages.1.blocks.1",
        "encoder.stages.2.blocks.0.nonlin3",
    ]  # their outputs are those of the stages
    assert list(stages.decoder) == ["decoder.stages.0", "decoder.stages.1"]


def test_a_block_that_coarsens_may_pad_and_weight_its_channels():
    network = partial(FlexibleUNet, backbone="efficientnet-b0", spatial_dims=2)
    stages = stages_of(discovered("flexible", network, dims=2, channels=3), channels=3, classes=2)
    blocks = [name.removesuffix("._bn2") for name in list(stages.encoder)]
    assert blocks[0] == "encoder._blocks.0.0"
    assert len(blocks) == 5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"interpolated": "up1"},
            "its decoder can be followed down to a map of (16, 16, 16) voxels only, and e2 returned",
        ),
        ({"repeated": "d1"}, "module d1 of its decoder runs 2 times in a forward pass"),
    ],
)
def test_a_decoder_that_cannot_be_followed_says_why(options, reason):
    stages = three_levels(**options)
    assert stages.absent.startswith(reason)
    assert stages.decoder == {}
    assert list(stages.encoder) == (["e0", "e1.conv", "e2.conv"] if "repeated" in options else [])


def test_a_decoder_step_at_the_coarsest_size_is_no_bottleneck():
    network = partial(plain_unet, features=[4, 8, 12, 12], strides=[1, 2, 2, 1], convolutions=1)
    stages = stages_of(discovered("plain", network, dims=3), channels=1, classes=2)
    assert stages.names == ()
    assert stages.absent.endswith("decoder.transpconvs.0 upsamples to this size before")


@pytest.mark.parametrize("last", ["encoder.stages.0", "decoder.stages.2"])
def test_an_untrained_decoder_has_no_stages(architecture, last):
    arch = replace(architecture("paper_unet"), taps=("encoder.stages.2", "encoder.stages.1", last))
    stages = stages_of(arch, channels=1, classes=3)
    assert (list(stages.encoder), stages.decoder) == (PAPER_UNET[0], {})
    assert stages.absent == "the source's taps are not its decoder's"


def test_a_network_without_stages_says_so():
    def flat(*, in_channels, out_channels):
        return nn.Sequential(nn.Conv3d(in_channels, 4, 3, padding=1), nn.Conv3d(4, out_channels, 1))

    arch = discovered("flat", flat, dims=3)
    stages = stages_of(arch, channels=1, classes=2)
    assert (stages.names, stages.absent) == ((), "no module before its head takes a coarse map and returns a finer one")
    stages = stages_of(replace(arch, head=()), channels=1, classes=2)
    assert stages.absent == "no part of its head takes a map, from which the stages are followed"


class Failing(nn.Module):
    """Raises an error in its forward pass."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError("no"), AssertionError("no"), AttributeError("no"), KeyError("no")])
def test_a_network_that_fails_says_so(error):
    def failing(*, in_channels, out_channels):
        return Failing(error)

    arch = Architecture("failing", failing, taps=("0",), decoder=(), last=(), head=("0",), width=1)
    kind = type(error).__name__
    absent = stages_of(arch, channels=1, classes=2).absent
    assert absent.startswith(f"the network fails on a volume of (32, 32, 32) voxels: {kind}: ")
