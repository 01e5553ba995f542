"""Ignored voxels count nowhere: not in a statistic, not in a metric, not in Dice, not in the loss."""

import pytest
import torch
from torch import nn

from benchmark.core.labels import IGNORED, counted
from benchmark.data.files.cases import Case
from benchmark.features.stream import reduce_stream
from benchmark.sources.pretrained import Budget
from benchmark.statistics import (
    BalancedPointsRequest,
    ClassMomentsRequest,
    JointRequest,
    ScenePointsRequest,
    SoftmaxRequest,
)
from benchmark.statistics.voxel_sampling import on_boundary
from benchmark.training.dice import case_dice
from benchmark.training.loop import train
from benchmark.training.loss import dice_ce

SHAPE = (6, 8, 8)


@pytest.fixture(scope="module")
def network():
    return nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 3, 1))  # of one voxel: what lies beside cannot change it


def case(*, scribbles: bool):
    """Two classes; with scribbles, the upper half is not annotated."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, SHAPE, generator=generator, dtype=torch.uint8)
    image = torch.randn((1, *SHAPE), generator=generator)
    if scribbles:
        labels[3:] = IGNORED
    return Case("a", image, labels, (1.0, 1.0, 1.0))


def half():
    """The annotated half alone."""
    whole = case(scribbles=False)
    return Case("a", whole.image[:, :3], whole.labels[:3], whole.spacing)


def streamed(network, one, requests, folder):
    return reduce_stream(network, ["0"], [one], requests, patch_size=(4, 4, 4), classes=2, folder=folder)


def test_statistics_are_those_of_the_annotated_part(network, tmp_path):
    requests = [ClassMomentsRequest(), JointRequest(), SoftmaxRequest()]
    found = streamed(network, case(scribbles=True), requests, tmp_path / "a")
    wanted = streamed(network, half(), requests, tmp_path / "b")
    moments, expected = found[requests[0]], wanted[requests[0]]
    assert torch.equal(moments.count, expected.count)
    assert moments.n == 3 * 8 * 8
    torch.testing.assert_close(moments.mean, expected.mean)
    torch.testing.assert_close(moments.scatter, expected.scatter)
    torch.testing.assert_close(found[requests[1]].soft, wanted[requests[1]].soft)
    rows = [torch.cat([block.labels for block in statistics[requests[2]].rows()]) for statistics in (found, wanted)]
    assert len(rows[0]) == 3 * 8 * 8
    assert torch.equal(rows[0].bincount(), rows[1].bincount())


def test_no_point_is_an_ignored_voxel(network, tmp_path):
    sample, points = BalancedPointsRequest(count=1000), ScenePointsRequest(count=1000)
    found = streamed(network, case(scribbles=True), [sample, points], tmp_path)
    assert len(found[sample].labels) == 3 * 8 * 8
    assert int(found[sample].table.positions[:, 0].max()) == 2
    assert len(found[points].scenes(-1)[0]) == 3 * 8 * 8


def test_an_ignored_neighbour_makes_no_boundary():
    labels = torch.tensor([[[0, IGNORED, 1, 0]]])
    positions = torch.tensor([[0, 0, 0], [0, 0, 2]])
    assert on_boundary(labels, positions).tolist() == [False, True]


def test_rows_are_the_same_tensor_where_nothing_is_ignored():
    rows, labels = torch.zeros(3, 2), torch.tensor([0, 1, 1])
    assert counted(rows, labels)[0] is rows


def test_a_label_that_is_no_class_is_still_refused(network, tmp_path):
    wrong = case(scribbles=False)
    wrong.labels[0, 0, 0] = 7
    with pytest.raises(ValueError, match=r"case 'a': labels must be in 0 \.\. 1, got 7"):
        streamed(network, wrong, [ClassMomentsRequest()], tmp_path)


def test_dice_is_that_of_the_annotated_part():
    found = torch.randint(2, SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    whole = case_dice(found, case(scribbles=True).labels, classes=2)
    assert whole == case_dice(found[:3], half().labels, classes=2)


def test_the_loss_and_its_gradient_are_those_of_the_annotated_part():
    logits = torch.randn((1, 2, *SHAPE), generator=torch.Generator().manual_seed(1)).requires_grad_()
    part = logits.detach()[:, :, :3].clone().requires_grad_()
    loss = dice_ce(logits, case(scribbles=True).labels[None, None].long())
    other = dice_ce(part, half().labels[None, None].long())
    torch.testing.assert_close(loss, other)
    loss.backward()
    other.backward()
    torch.testing.assert_close(logits.grad[:, :, :3], part.grad)
    assert not logits.grad[:, :, 3:].any()


def test_training_on_scribbles_goes_on(network):
    budget = Budget(steps=3, batch=2, patch=(8, 8, 8), lr=1e-2)  # larger than a case, which is padded
    losses = train(nn.Conv3d(1, 2, 1), [case(scribbles=True)], budget=budget, seed=0)
    assert len(losses) == 3
    assert all(torch.isfinite(torch.tensor(losses)))
