"""The joint histogram against counting row by row."""

import pytest
import torch

from benchmark.core.joint_histogram import joint_histogram, reference


def draw(n, z, k, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, z, generator=generator).softmax(dim=1), torch.randint(0, k, (n,), generator=generator)


@pytest.mark.parametrize(("n", "z", "k"), [(200, 5, 3), (1, 1, 1), (0, 3, 2), (7, 9, 4)])
def test_equals_counting(n, z, k):
    softmax, labels = draw(n, z, k)
    joint = joint_histogram(softmax, labels, k)
    soft, hard = torch.zeros(k, z, dtype=torch.float64), torch.zeros(k, z, dtype=torch.float64)
    for row, label in zip(softmax, labels, strict=True):
        soft[label] += row.double()
        hard[label, row.argmax()] += 1
    torch.testing.assert_close(joint.soft, soft)
    assert torch.equal(joint.hard, hard)


def test_rows_and_counts_are_kept():
    softmax, labels = draw(500, 4, 3)
    joint = joint_histogram(softmax, labels.to(torch.uint8), 3)
    count = torch.bincount(labels, minlength=3).double()
    torch.testing.assert_close(joint.soft.sum(dim=1), count, rtol=1e-6, atol=0)
    assert torch.equal(joint.hard.sum(dim=1), count)


def test_blocks_and_strides_do_not_matter(monkeypatch):
    softmax, labels = draw(100, 4, 3)
    whole = joint_histogram(softmax, labels, 3)
    monkeypatch.setattr(reference, "BLOCK_ROWS", 7)
    blocked = joint_histogram(softmax.T.contiguous().T, labels, 3)
    torch.testing.assert_close(blocked.soft, whole.soft)
    assert torch.equal(blocked.hard, whole.hard)


def test_a_tie_goes_to_the_first_source_class():
    joint = joint_histogram(torch.full((2, 4), 0.25), torch.tensor([0, 0]), 1)
    assert joint.hard.tolist() == [[2, 0, 0, 0]]


def test_nan_is_not_counted_as_a_prediction():
    softmax, labels = draw(20, 3, 2)
    softmax[4, 1] = torch.nan
    joint = joint_histogram(softmax, labels, 2)
    assert joint.soft[:, 1].isnan().any()
    assert joint.hard[:, 1].isnan().all()
    assert joint.soft[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize("softmax", [torch.zeros(3), torch.zeros(3, 0), torch.zeros(3, 2, dtype=torch.int64)])
def test_a_wrong_shape_is_named(softmax):
    with pytest.raises(ValueError, match=r"`probabilities` must be floating point of shape \(n, z\)"):
        joint_histogram(softmax, torch.zeros(3, dtype=torch.int64), 2)
