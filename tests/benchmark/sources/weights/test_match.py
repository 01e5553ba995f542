"""Weights taken over by name and shape; the head stays new; all else is reported."""

import pytest
import torch
from torch import nn

from benchmark.sources.weights.match import Transfer, transfer


class Network(nn.Module):
    """An encoder that is listed twice, as MONAI's DynUNet lists its blocks, a decoder and a head."""

    def __init__(self, *, classes: int, width: int = 4, seed: int = 0):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.encoder = nn.Conv3d(1, width, 3)
            self.decoder = nn.Conv3d(width, width, 3)
            self.norm = nn.BatchNorm3d(width)
            self.head = nn.Conv3d(width, classes, 1)
        self.again = nn.ModuleList([self.encoder, self.head])


def test_everything_but_the_head_is_taken_over():
    source, target = Network(classes=2, seed=1), Network(classes=3, seed=2)
    fresh = {name: value.clone() for name, value in target.state_dict().items()}
    done = transfer(target, source.state_dict(), head=["head"])
    for name, value in target.state_dict().items():
        origin = fresh[name] if name in done.fresh else source.state_dict()[name]
        assert torch.equal(value, origin)
    assert set(done.fresh) == {"head.weight", "head.bias", "again.1.weight", "again.1.bias"}
    assert set(done.fresh.values()) == {"head"}
    assert set(done.loaded) | set(done.fresh) == set(target.state_dict())
    assert set(done.unused) == set(done.fresh)


def test_the_head_is_new_even_if_its_shape_agrees_and_under_every_name():
    source, target = Network(classes=2, seed=1), Network(classes=2, seed=2)
    before = target.head.weight.detach().clone()
    done = transfer(target, source.state_dict(), head=["head"])
    assert torch.equal(target.head.weight, before)
    assert not torch.equal(target.head.weight, source.head.weight)
    assert "again.1.weight" not in done.loaded


def test_modules_listed_twice_stay_one():
    target = Network(classes=2, seed=2)
    transfer(target, Network(classes=2, seed=1).state_dict(), head=["head"])
    assert target.again[0].weight is target.encoder.weight


def test_other_shapes_are_reported_and_stay_new():
    source, target = Network(classes=2, width=4, seed=1), Network(classes=2, width=6, seed=2)
    before = target.decoder.weight.detach().clone()
    done = transfer(target, source.state_dict(), head=["head"])
    assert done.fresh["decoder.weight"] == "shape (6, 6, 3, 3, 3), source has (4, 4, 3, 3, 3)"
    assert torch.equal(target.decoder.weight, before)
    assert done.loaded == ("norm.num_batches_tracked",)


def test_names_without_a_partner_are_reported():
    weights = Network(classes=2, seed=1).state_dict()
    weights["elsewhere.weight"] = weights.pop("decoder.weight")
    done = transfer(Network(classes=2, seed=2), weights, head=["head"])
    assert done.fresh["decoder.weight"] == "not in the source"
    assert "elsewhere.weight" in done.unused


def test_the_source_is_left_alone():
    source, target = Network(classes=2, seed=1), Network(classes=2, seed=2)
    transfer(target, source.state_dict(), head=["head"])
    before = source.encoder.weight.detach().clone()
    with torch.no_grad():
        target.encoder.weight.zero_()
    assert torch.equal(source.encoder.weight, before)


def test_a_report_reads_as_one_line():
    assert str(Transfer(("a", "b"), {"c": "head"}, ())) == "2 tensors loaded, 1 fresh, 0 unused"


def test_a_head_that_is_no_module_is_an_error():
    with pytest.raises(AttributeError):
        transfer(Network(classes=2), {}, head=["nowhere"])
