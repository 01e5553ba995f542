"""A source adapted to a target of other channels computes what its note says, or is skipped."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from monai.networks import nets

from benchmark.errors import SkipPair
from benchmark.sources.model import Model
from benchmark.sources.networks.discover import discovered
from benchmark.sources.pairing import adapted
from tests.checkpoints import SMALL


def model_of(name, *, channels, **settings):
    network = partial(getattr(nets, name), spatial_dims=3, **SMALL[name] | settings)
    arch = discovered(name, network, dims=3, channels=channels)
    weights = arch.build(channels=channels, classes=2, seed=0).state_dict()
    return Model(name=name, arch=arch, weights=weights, channels=channels, classes=2)


@pytest.mark.parametrize("name", ["DynUNet", "UNet", "SegResNet", "BasicUNet"])
def test_one_input_sees_the_mean_and_several_see_the_one_channel(name):
    image = torch.randn(1, 2, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    one, two = model_of(name, channels=1), model_of(name, channels=2)
    with torch.no_grad():
        spread, gathered = (
            adapted(one, channels=2, flat=False).network(),
            adapted(two, channels=1, flat=False).network(),
        )
        pairs = [
            (spread(image), one.network()(image.mean(1, keepdim=True))),
            (gathered(image[:, :1]), two.network()(image[:, :1].expand(-1, 2, -1, -1, -1))),
        ]
    for actual, wanted in pairs:
        torch.testing.assert_close(actual, wanted, rtol=1e-3, atol=1e-3)


def test_a_network_that_adds_its_input_to_its_first_maps_is_skipped():
    model = model_of("VNet", channels=1)
    headless = {
        name: torch.zeros_like(one) if name.startswith("out_tr") else one for name, one in model.weights.items()
    }
    for given in (model, replace(model, weights=headless, head=False)):
        with pytest.raises(SkipPair, match=r"VNet reads its input outside its first convolutions"):
            adapted(given, channels=2, flat=False)


def test_a_network_that_has_other_layers_then_is_skipped():
    model = model_of("UNet", channels=4, strides=[1, 2])  # 4 channels in and out need no residual convolution
    model = replace(model, weights=dict(model.weights))
    with pytest.raises(SkipPair, match="UNet has different layers for 1 input channels"):
        adapted(model, channels=1, flat=False)
