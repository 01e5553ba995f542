"""Networks built without drawing weights compute the same, and what needs values is built with them."""

from functools import partial

import pytest
import torch
from torch import nn

from benchmark.sources.model import Model
from benchmark.sources.networks import skeleton, trace
from benchmark.sources.networks.discover import discovered, layers_of
from benchmark.sources.networks.skeleton import initial, is_skeleton, outline, to_fill
from tests.checkpoints import SMALL, small_network


class Positioned(nn.Module):
    """A network with values outside its state dict: a buffer that is not persistent, or a plain attribute."""

    def __init__(self, in_channels, out_channels, kind):
        super().__init__()
        self.body = nn.Conv3d(in_channels, 4, 3, padding=1)
        self.head = nn.Conv3d(4, out_channels, 1)
        self.register_buffer("own", torch.full((1,), 2.0), persistent=kind == "persistent")
        self.plain = [torch.full((1,), 3.0)] if kind == "plain" else [3.0]
        if kind == "read":
            self.plain = [float(self.own)]
        if kind == "tied":
            self.again = nn.Conv3d(in_channels, 4, 3, padding=1)
            self.again.weight = self.body.weight

    def forward(self, x):
        return self.head(self.body(x)) * self.own + self.plain[0]


def same_as_drawn(network, *, dims, size=None):
    arch = discovered("made", network, dims=dims, size=size)
    weights = initial(network, channels=1, classes=3, seed=7).state_dict()
    model = Model("made", arch, weights, channels=1, classes=3)
    drawn = arch.build(channels=1, classes=3, seed=0)
    drawn.load_state_dict(weights)
    image = torch.randn(1, 1, *arch.fit((32, 32, 32)), generator=torch.Generator().manual_seed(0))
    ours = model.network()
    with torch.no_grad():
        assert torch.equal(ours(image), drawn.eval()(image))
    assert [(p.shape, p.stride()) for p in ours.parameters()] == [(p.shape, p.stride()) for p in drawn.parameters()]
    assert not is_skeleton(ours)
    return model


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("name", sorted(set(SMALL) - {"SwinUNETR", "UNETR"}))
def test_loaded_without_drawing_it_computes_the_same(name, dims, monkeypatch):
    network = partial(type(small_network(name, dims=dims)), spatial_dims=dims, **SMALL[name])
    same_as_drawn(network, dims=dims)
    monkeypatch.setattr(skeleton, "initial", None)  # what draws
    monkeypatch.setattr(trace, "initial", None)
    fresh = partial(network)
    assert is_skeleton(to_fill(fresh, channels=1, classes=3))
    discovered("made", fresh, dims=dims)


@pytest.mark.parametrize("kind", ["persistent", "buffer", "plain", "read", "tied"])
def test_values_outside_the_state_dict_are_those_of_the_class(kind):
    network = partial(Positioned, kind=kind)
    model = same_as_drawn(network, dims=3)
    assert is_skeleton(to_fill(network, channels=1, classes=3)) == (kind == "persistent")
    if kind == "tied":
        built = model.network()
        assert built.again.weight is built.body.weight
        assert outline(network, channels=1, classes=3).shared == (("body.weight", "again.weight"),)


def test_a_pass_that_reads_values_is_made_with_values():
    class Reading(nn.Sequential):
        def forward(self, x):
            return super().forward(x if float(x.abs().max()) > 0 else x[:, :, ::2])

    def network(in_channels, out_channels):
        return Reading(nn.Conv3d(in_channels, 4, 3, padding=1), nn.Conv3d(4, out_channels, 1))

    arch = discovered("reading", network, dims=3)
    assert (arch.head, arch.width) == (("1",), 4)
    assert [layer.name for layer in layers_of(Model("m", arch, {}, channels=1, classes=2))] == ["0"]


@pytest.mark.parametrize("norm", ["INSTANCE", "BATCH", ("GROUP", {"num_groups": 2})])
@pytest.mark.parametrize("side", [8, 9, 2])
def test_shapes_are_those_of_a_pass_with_values(norm, side):
    settings = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]}
    network = partial(type(small_network("DynUNet")), spatial_dims=3, norm_name=norm, res_block=True, **settings)

    def shapes(built):
        try:
            calls = trace.traced(network, built, channels=1, classes=2, grids=[(side,) * 3]).calls
        except (RuntimeError, ValueError) as error:
            return type(error)
        return [(call.name, call.output.shape, [item.shape for item in call.inputs]) for call in calls]

    without = skeleton.skeleton(network, channels=1, classes=2)
    assert is_skeleton(without)
    assert shapes(without) == shapes(initial(network, channels=1, classes=2, seed=0))
