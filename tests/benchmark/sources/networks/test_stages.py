"""Stages of the encoder and of the decoder, of every architecture of conf/arch and of others."""

from dataclasses import replace
from functools import partial

import pytest
from hydra.utils import instantiate
from torch import nn

from benchmark.jobs.cli import CONF
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.networks.planned_unet import plain_unet
from benchmark.sources.networks.stages import stages_of
from benchmark.sources.networks.unet_plus_plus import SingleOutputUNetPlusPlus

INNER = "model.1.submodule.1.submodule.1"
# encoder, fine to coarse, and decoder, coarse to fine
PAPER_UNET = [f"encoder.stages.{at}" for at in range(4)], [f"decoder.stages.{at}" for at in range(3)]
# UNETR has no map of its bottleneck: its tokens are rearranged by a function
UNETR = (
    ["encoder1", "encoder2.blocks.1", "encoder3.blocks.0", "encoder4"],
    ["decoder5", "decoder4", "decoder3", "decoder2"],
)
EXPECTED = {
    "dynunet": (
        ["input_block", "downsamples.0", "downsamples.1", "bottleneck"],
        ["upsamples.0", "upsamples.1", "upsamples.2"],
    ),
    "paper_unet": PAPER_UNET,
    "paper_unetr": UNETR,
    "segresnet": ([f"down_layers.{at}" for at in range(4)], [f"up_layers.{at}" for at in range(3)]),
    "swinunetr": (
        ["encoder1", "encoder2", "encoder3", "encoder4", "swinViT.layers3.0", "encoder10"],
        ["decoder5", "decoder4", "decoder3", "decoder2", "decoder1"],
    ),
    "unet": (["model.0", "model.1.submodule.0", f"{INNER}.submodule"], [INNER, "model.1.submodule.1", "model.1"]),
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
    assert stages.decoder[arch.taps[-1]] == (2 * arch.width if name == "unet" else arch.width)


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


def test_an_untrained_decoder_has_no_stages(architecture):
    arch = replace(architecture("paper_unet"), taps=("encoder.stages.2", "encoder.stages.1", "encoder.stages.0"))
    stages = stages_of(arch, channels=1, classes=3)
    assert (list(stages.encoder), stages.decoder) == (PAPER_UNET[0], {})
    assert stages.absent == "its decoder is not pre-trained"


def test_a_network_without_stages_says_so():
    def flat(*, in_channels, out_channels):
        return nn.Sequential(nn.Conv3d(in_channels, 4, 3, padding=1), nn.Conv3d(4, out_channels, 1))

    arch = discovered("flat", flat, dims=3)
    stages = stages_of(arch, channels=1, classes=2)
    assert (stages.names, stages.absent) == ((), "no module before its head takes a coarse map and returns a finer one")
    stages = stages_of(replace(arch, head=()), channels=1, classes=2)
    assert stages.absent == "no part of its head takes a map, from which the stages are followed"


def test_a_network_that_fails_says_so():
    def narrow(*, in_channels, out_channels):
        return nn.Sequential(nn.Linear(7, out_channels))

    arch = Architecture("narrow", narrow, taps=("0",), decoder=(), last=(), head=("0",), width=1)
    assert stages_of(arch, channels=1, classes=2).absent.startswith("the network fails on a volume of (32, 32, 32)")
