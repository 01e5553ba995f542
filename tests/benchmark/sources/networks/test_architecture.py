"""Architectures: weights from the seed alone, names checked, and every yaml trains and taps."""

import math
from dataclasses import replace

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from benchmark.errors import InputError
from benchmark.features.taps import Taps
from benchmark.jobs.cli import CONF
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.pretrained import Budget
from benchmark.training.loop import train

ARCHITECTURES = sorted(path.stem for path in (CONF / "arch").glob("[!_]*.yaml"))
SIDE = {"swinunetr": 64}  # voxels of the smallest patch; 32 otherwise
NARROW = {"swinunetr": 12, "segresnet": 8}  # smallest width that the network takes; 4 otherwise
CLASSES = 3
SHRUNK = {  # large ones as they are built, with fewer channels
    "paper_unetr": ["source.arch.network.img_size=[32,32,32]", "source.arch.network.hidden_size=24",
                    "source.arch.network.mlp_dim=24", "source.arch.network.num_heads=2"],
}  # fmt: skip
# Heads of coarser stages, which only nnU-Net's trainer supervises.
COARSE_HEADS = ("decoder.seg_layers.0", "decoder.seg_layers.1")
# Modules between the last tap and the logits that are no head: MONAI's UNet upsamples and segments in one module.
HALF = {"unet", "resunet"}


@pytest.fixture
def architecture(compose_command):
    """Builds an architecture of conf/arch with a small width."""

    def make(name: str) -> Architecture:
        width = NARROW.get(name, 4)
        narrow = [f"source.arch.width={width}", *SHRUNK.get(name, [])]
        cfg = compose_command("pretrain", "source=scratch", f"arch@source.arch={name}", *narrow)
        return instantiate(cfg.source.arch)

    return make


@pytest.fixture
def small() -> Architecture:
    """Two convolutions and a head."""

    def network(*, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv3d(in_channels, 4, 3), nn.Conv3d(4, 4, 3), nn.Conv3d(4, out_channels, 1))

    return Architecture("small", network, taps=("0", "1"), decoder=("1",), last=("1",), head=("2",), width=4)


def _patch(name: str) -> tuple[int, int, int]:
    return (SIDE.get(name, 32),) * 3


def _weights(network: nn.Module) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def test_there_are_architectures():
    assert {"dynunet", "unet", "segresnet", "unetr", "swinunetr"} <= set(ARCHITECTURES)


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(small):
    before = torch.random.get_rng_state()
    first = small.build(channels=1, classes=2, seed=5)
    torch.rand(3)
    second, other = (small.build(channels=1, classes=2, seed=seed) for seed in (5, 6))
    assert all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(second), strict=True))
    assert not torch.equal(_weights(first)[0], _weights(other)[0])
    torch.random.set_rng_state(before)
    small.build(channels=1, classes=2, seed=7)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("part", ["taps", "decoder", "last", "head"])
def test_a_name_that_is_no_module_is_told(small, part):
    wrong = replace(small, **{part: ("1", "nowhere.2")})
    with pytest.raises(InputError, match=r"arch small: taps, decoder, last and head must name modules, got nowhere\.2"):
        wrong.build(channels=1, classes=2, seed=0)


def _slow(name: str) -> tuple:
    return (pytest.mark.slow,) if name in SIDE else ()


@pytest.mark.parametrize("name", [pytest.param(name, marks=_slow(name)) for name in ARCHITECTURES])
def test_every_architecture_trains_and_its_taps_are_inputs_of_heads(architecture, make_case, name):
    arch, patch = architecture(name), _patch(name)
    network = arch.build(channels=1, classes=CLASSES, seed=0)
    case = make_case(seed=0, shape=patch, classes=CLASSES)
    before = {part: parameter.detach().clone() for part, parameter in network.named_parameters()}
    losses = train(network, [case], budget=Budget(steps=2, batch=2, patch=patch), seed=0)
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    idle = {part for part, parameter in network.named_parameters() if parameter.grad is None}  # MONAI's UNETR has some
    still = {part for part, parameter in network.named_parameters() if torch.equal(before[part], parameter)}
    assert still <= idle
    tuned = {part for part in idle if part.startswith((*arch.decoder, *arch.last, *arch.head))}
    assert all(part.startswith(COARSE_HEADS) for part in tuned)

    with torch.no_grad(), Taps(network, arch.taps) as taps:
        logits = network(case.image[None].expand(2, *case.image.shape))
        maps = taps.take()
    assert logits.shape == (2, CLASSES, *patch)
    sides = [values.shape[2] for values in maps]
    assert sides == sorted(sides), "taps must run from coarse to fine"
    assert all(values.ndim == 5 and values.shape[0] == 2 for values in maps)
    assert all(patch[0] % side == 0 for side in sides)
    assert sides[-1] == patch[0] // (2 if name in HALF else 1)
    with torch.no_grad():
        head = network.get_submodule(arch.head[0])
        head = head[-1] if isinstance(head, nn.ModuleList) else head  # of the finest stage
        torch.testing.assert_close(head(maps[-1]), logits)


def test_the_parts_of_dynunet_are_its_decoder_and_its_head(architecture):
    """Beside the encoder, every weight is in exactly one of decoder and head; the last stage is in the decoder."""
    arch = architecture("dynunet")
    network = arch.build(channels=1, classes=2, seed=0)
    parts = {part: {id(p) for name in getattr(arch, part) for p in network.get_submodule(name).parameters()}
             for part in ("decoder", "last", "head")}  # fmt: skip
    encoder = {
        id(p) for name in ("input_block", "downsamples", "bottleneck") for p in network.get_submodule(name).parameters()
    }
    assert encoder | parts["decoder"] | parts["head"] == {id(p) for p in network.parameters()}
    assert not parts["decoder"] & parts["head"]
    assert not encoder & (parts["decoder"] | parts["head"])
    assert parts["last"] < parts["decoder"]


def test_the_width_of_the_yaml_is_that_of_the_finest_layer(architecture, compose_command):
    for width in (4, 8):
        cfg = compose_command("pretrain", "source=scratch", f"source.arch.width={width}")
        arch = instantiate(cfg.source.arch)
        network = arch.build(channels=1, classes=2, seed=0)
        assert network.output_block.conv.conv.in_channels == width == arch.width
