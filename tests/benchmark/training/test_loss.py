"""The loss of what a network returns in training: one map of logits, or several of a deeply supervised network."""

import pytest
import torch
from monai.networks import nets
from torch.nn.functional import interpolate

from benchmark.core.labels import IGNORED
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.pretrained import Budget
from benchmark.training.loop import train
from benchmark.training.loss import dice_ce, training_loss

SHAPE = (8, 12, 8)
DEEP = {
    "SegResNetDS": {"init_filters": 8, "blocks_down": (1, 1, 1), "dsdepth": 3},
    "MedNeXt": {"init_filters": 4, "deep_supervision": True},
    "DynUNet": {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16],
                "deep_supervision": True, "deep_supr_num": 1},
}  # fmt: skip


def logits(seed: int = 0, *, shape=SHAPE, classes: int = 3) -> torch.Tensor:
    return torch.randn((2, classes, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def labels() -> torch.Tensor:
    classes = torch.randint(3, (2, 1, *SHAPE), generator=torch.Generator().manual_seed(9))
    classes[:, :, 0] = IGNORED
    return classes


def network(name: str, *, dims: int = 3) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(nets, name)(spatial_dims=dims, in_channels=1, out_channels=3, **DEEP[name])


def test_one_map_has_the_plain_loss(labels):
    assert torch.equal(training_loss(logits(), labels), dice_ce(logits(), labels))
    assert torch.equal(training_loss([logits()], labels), dice_ce(logits(), labels))


def test_coarser_maps_count_half_and_see_the_nearest_labels(labels):
    half = tuple(side // 2 for side in SHAPE)
    coarse = interpolate(labels.float(), half, mode="nearest-exact").long()
    wanted = dice_ce(logits(0), labels) + 0.5 * dice_ce(logits(1, shape=half), coarse)
    for output in ([logits(0), logits(1, shape=half)], {"aux": logits(1, shape=half), "out": logits(0)}):
        torch.testing.assert_close(training_loss(output, labels), wanted)


def test_stacked_maps_are_those_of_a_list(labels):
    maps = [logits(0), logits(1)]
    assert torch.equal(training_loss(torch.stack(maps, dim=1), labels), training_loss(maps, labels))


def test_what_is_no_map_of_logits_is_left_out(labels):
    other = torch.zeros(2, 7, *SHAPE)
    assert torch.equal(training_loss((logits(), torch.tensor(3.0), other, None), labels), dice_ce(logits(), labels))
    with pytest.raises(TypeError, match=r"`output` must hold logits \(b, k, D, H, W\), got dict"):
        training_loss({"loss": torch.tensor(3.0)}, labels)


@pytest.mark.parametrize("name", DEEP)
def test_deeply_supervised_networks_train_all_their_heads(name, make_case):
    deep = network(name)
    output = deep.train()(torch.zeros(2, 1, 16, 16, 16))
    assert not isinstance(output, torch.Tensor) or output.ndim == 6  # else the test would say nothing
    if isinstance(output, list):
        sizes = [one.shape[2:].numel() for one in output]
        assert sizes == sorted(sizes, reverse=True)
    before = {key: value.clone() for key, value in deep.named_parameters()}
    budget = Budget(steps=2, batch=2, patch=(16, 16, 16), lr=1e-2)
    losses = train(deep, [make_case(seed=seed, shape=(16, 16, 16)) for seed in range(2)], budget=budget, seed=0)
    assert all(loss == loss and loss > 0 for loss in losses)
    still = [key for key, value in deep.named_parameters() if torch.equal(value, before[key])]
    assert not still


@pytest.mark.parametrize("name", ["SegResNetDS", "DynUNet"])
def test_a_network_of_two_dimensions_puts_out_volumes_of_one_slice_in_training(name, labels):
    arch = Architecture(name, lambda in_channels, out_channels: network(name, dims=2), (), (), (), (), 4, dims=2)
    built = arch.build(channels=1, classes=3, seed=0)
    views = torch.zeros(2, 1, 1, 16, 16)
    assert built.eval()(views).shape == (2, 3, 1, 16, 16)
    output = built.train()(views)
    maps = output.unbind(1) if isinstance(output, torch.Tensor) else output
    assert len(maps) > 1
    assert all(one.shape[:3] == (2, 3, 1) for one in maps)
    assert training_loss(output, torch.ones(2, 1, 1, 16, 16, dtype=torch.int64)).isfinite()
