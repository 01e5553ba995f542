"""Parts of networks that nobody named: they are those that conf/arch names, and nnU-Net's own."""

from functools import partial

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from benchmark.errors import InputError
from benchmark.features.taps import Taps
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.nnunet_network import _architecture, configured
from tests.checkpoints import SMALL, plans, plans_network, small_network

WIDTHS = {"dynunet": 4, "unet": 4, "segresnet": 8, "unetr": 4}


def weights(network, names):
    return {id(p) for name in names for p in network.get_submodule(name).parameters()}


@pytest.mark.parametrize("name", [*WIDTHS, pytest.param("swinunetr", marks=pytest.mark.slow)])
def test_what_is_found_is_what_the_yaml_names(compose_command, name):
    cfg = compose_command(
        "pretrain", "source=scratch", f"arch@source.arch={name}", f"source.arch.width={WIDTHS.get(name, 12)}"
    )
    named = instantiate(cfg.source.arch)
    arch = discovered(name, named.network, dims=3, size=named.size)
    network = named.build(channels=1, classes=2, seed=0)
    assert arch.taps == tuple(named.taps)
    assert arch.head == tuple(named.head)
    for part in ("decoder", "last"):
        assert weights(network, getattr(arch, part)) == weights(network, getattr(named, part))
    assert arch.divisor == (named.divisor,) * 3
    again = discovered(name, named.network, dims=3, size=named.size)
    assert (again.taps, again.decoder, again.last, again.head) == (arch.taps, arch.decoder, arch.last, arch.head)


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("cls", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("stages", [3, 5])
def test_what_is_found_in_nnunet_is_what_its_decoder_is_made_of(cls, dims, stages):
    content = plans(dims, cls=cls, stages=stages)
    (configuration,) = content["configurations"]
    plan = configured(content, configuration, "plans", trust=False)
    named = _architecture(plan.plan["architecture"], plan)
    arch = discovered(cls, named.network, dims=dims)
    assert arch.taps == named.taps == tuple(f"decoder.stages.{i}" for i in range(max(0, stages - 4), stages - 1))
    network = plans_network(content)
    for part in ("decoder", "last", "head"):
        assert weights(network, getattr(arch, part)) == weights(network, getattr(named, part))
    assert (arch.divisor, arch.width) == (named.divisor, named.width)


@pytest.mark.parametrize("name", ["DynUNet", "UNet", "BasicUNet", "SegResNet"])
def test_the_finest_tap_goes_through_the_head_to_the_logits_in_two_dimensions_too(name):
    network = partial(type(small_network(name, dims=2)), spatial_dims=2, **SMALL[name])
    arch = discovered(name, network, dims=2)
    built = arch.build(channels=1, classes=3, seed=0).eval()
    image = torch.randn(2, 1, *arch.fit((32, 32, 32)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), Taps(built, arch.taps) as taps:
        logits = built(image)
        maps = taps.take()
        finest = built.get_submodule(arch.head[0])(maps[-1].squeeze(2))
    assert logits.shape == (2, 3, 1, 32, 32)
    assert [values.ndim for values in maps] == [5] * len(maps)
    assert maps[-1].shape[1] == arch.width
    torch.testing.assert_close(finest, logits.squeeze(2))


def test_a_network_that_does_not_depend_on_the_classes_is_refused():
    def network(*, in_channels, out_channels):
        return nn.Conv3d(in_channels, 2, 1)

    with pytest.raises(InputError, match=r"arch fixed: the network has no head, since out_channels changes none of"):
        discovered("fixed", network, dims=3)


def test_a_network_that_takes_no_volume_is_refused():
    def network(*, in_channels, out_channels):
        return nn.Sequential(nn.Linear(7, out_channels))

    with pytest.raises(InputError, match=r"arch flat: the network fails on a volume of \(128, 128, 128\) voxels: "):
        discovered("flat", network, dims=3)
