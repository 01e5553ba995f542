"""Taps: every forward pass anew, and gone afterwards, also after an error."""

import pytest
import torch
from torch import nn

from benchmark.features.taps import Taps


def network():
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 4), nn.Identity()))


def hooks(module):
    return sum(len(child._forward_hooks) for child in module.modules())


def test_every_pass_is_captured_anew():
    net = network()
    with Taps(net, ["1", "2.0"]) as taps:
        for value in (0.0, 1.0):
            out = net(torch.full((5, 2), value))
            relu, linear = taps.take()
            assert torch.equal(linear, out)
            assert torch.equal(relu, net[1](net[0](torch.full((5, 2), value))))


def test_nothing_stale_is_read():
    net = network()
    with Taps(net, ["1"]) as taps:
        net(torch.zeros(5, 2))
        taps.take()
        with pytest.raises(RuntimeError, match=r"`taps` must name modules that the forward pass calls, got \['1'\]"):
            taps.take()


def test_hooks_are_gone_afterwards():
    net = network()
    with Taps(net, ["1"]):
        assert hooks(net) == 1
    assert hooks(net) == 0


def test_hooks_are_gone_after_an_error():
    net = network()
    with pytest.raises(RuntimeError), Taps(net, ["1"]):
        net(torch.zeros(5, 7))
    assert hooks(net) == 0


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["2.9"], r"`taps` must be names of the network's modules, got '2.9'; similar: 2.*"),
        ([], r"`taps` must be distinct names of modules, got \[\]"),
        (["1", "1"], r"`taps` must be distinct names of modules, got \['1', '1'\]"),
    ],
)
def test_names_are_checked(names, text):
    with pytest.raises(ValueError, match=text):
        Taps(network(), names)


def test_a_module_without_a_tensor_is_named():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    net = nn.Sequential(Pair())
    with Taps(net, ["0"]) as taps:
        net(torch.zeros(2))
        with pytest.raises(TypeError, match="`taps` must name modules that return tensors, got tuple from '0'"):
            taps.take()
