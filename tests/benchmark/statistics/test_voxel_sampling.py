"""Which voxels are sampled: uniform, without replacement, from nothing but seed, case and class."""

import pytest
import torch

from benchmark.statistics import voxel_sampling
from benchmark.statistics.voxel_sampling import draw_voxels, inside, on_boundary, proportional_counts

LABELS = torch.tensor([0, 1, 1, 2, 0, 1] * 20).reshape(4, 5, 6)


def draw(labels, label, count, *, seed, case, seen=None):
    (drawn,) = draw_voxels(labels, [label], count, seed=seed, case=case, seen=seen)
    return drawn


def test_positions_are_distinct_voxels_of_the_class():
    drawn = draw(LABELS, 1, 25, seed=0, case="a")
    assert drawn.positions.shape == (25, 3)
    assert len({tuple(position) for position in drawn.positions.tolist()}) == 25
    assert (LABELS[tuple(drawn.positions.T)] == 1).all()
    assert (drawn.priorities.diff() >= 0).all()


def test_a_smaller_draw_is_the_start_of_a_larger_one():
    few, many = (draw(LABELS, 1, count, seed=0, case="a") for count in (10, 30))
    assert torch.equal(many.positions[:10], few.positions)


def test_all_voxels_of_a_rare_class_are_taken():
    assert len(draw(LABELS, 2, 100, seed=0, case="a").positions) == 20
    assert len(draw(LABELS, 3, 100, seed=0, case="a").positions) == 0


def test_the_size_of_a_class_includes_what_may_not_be_sampled():
    assert draw(LABELS, 1, 5, seed=0, case="a", seen=LABELS > 1).size == 60
    assert draw(LABELS, 3, 5, seed=0, case="a").size == 0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([300, 300], [100, 100]),
        ([600, 200], [150, 50]),
        ([10_000, 0, 10], [200, 0, 2]),  # a class that the case lacks adds nothing to the budget; round(0.2) is 0
        ([30, 10], [30, 10]),  # all they have
        ([1, 5000], [1, 200]),
        ([0, 0], [0, 0]),
        ([], []),
    ],
)
def test_points_in_proportion_are_hand_worked(sizes, expected):
    assert proportional_counts(100, sizes) == expected


def test_without_a_class_it_is_the_whole_image():
    assert len(draw(LABELS, None, 1000, seed=0, case="a").positions) == 120


def test_seed_case_and_class_all_matter():
    draws = [
        draw(LABELS, label, 5, seed=seed, case=case).priorities.tolist()
        for label, seed, case in ((1, 0, "a"), (0, 0, "a"), (1, 1, "a"), (1, 0, "b"))
    ]
    assert len({tuple(own) for own in draws}) == 4


def test_every_voxel_is_as_likely():
    # 400 draws of 12 of 60 voxels: 80 expected each, standard deviation 8; five of them on either side.
    counts = torch.zeros(120)
    for seed in range(400):
        positions = draw(LABELS, 1, 12, seed=seed, case="a").positions
        counts[(positions * torch.tensor([30, 6, 1])).sum(dim=1)] += 1
    chosen = counts[LABELS.flatten() == 1]
    assert chosen.sum() == 400 * 12
    assert 40 <= chosen.min() <= chosen.max() <= 120


def test_inside_is_half_open():
    points = torch.tensor([[0, 0, 0], [1, 2, 3], [2, 2, 3]])
    assert inside(points, (0, 0, 0), (2, 3, 4)).tolist() == [True, True, False]


def test_boundary_is_a_face_neighbour_of_another_class():
    labels = torch.zeros(5, 5, 5, dtype=torch.uint8)
    labels[2, 2, 2] = 1
    points = torch.tensor([[2, 2, 2], [2, 2, 1], [1, 1, 2], [0, 0, 0]])
    assert on_boundary(labels, points).tolist() == [True, True, False, False]


class Counted:
    """Labels that count the largest box that was read."""

    def __init__(self, labels):
        self.labels, self.shape, self.largest = labels, tuple(labels.shape), 0

    def __getitem__(self, box):
        part = self.labels[box]
        self.largest = max(self.largest, part.numel())
        return part


def test_slabs_and_blocks_change_no_draw(monkeypatch):
    """Against all priorities drawn at once, sorted; also among the voxels that windows cover."""
    labels = torch.randint(0, 3, (9, 10, 11), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    seen = torch.rand(9, 10, 11, generator=torch.Generator().manual_seed(1)) < 0.4
    monkeypatch.setattr(voxel_sampling, "SLAB_DEPTH", 2)
    monkeypatch.setattr(voxel_sampling, "BLOCK_VOXELS", 37)
    for label in (0, 2, None):
        members = torch.nonzero((labels == label) if label is not None else labels < 255)
        every = torch.rand(len(members), dtype=torch.float64, generator=voxel_sampling._generator(5, "a", label))
        for mask in (None, seen):
            visible = torch.ones(len(members), dtype=torch.bool) if mask is None else mask[tuple(members.T)]
            order = torch.argsort(every[visible])[:20]
            counted = Counted(labels)
            drawn = draw(counted, label, 20, seed=5, case="a", seen=mask)
            assert torch.equal(drawn.positions, members[visible][order])
            assert torch.equal(drawn.priorities, every[visible][order])
            assert counted.largest == 2 * 110


def test_a_boundary_between_slabs_is_seen(monkeypatch):
    labels = torch.zeros(9, 4, 4, dtype=torch.uint8)
    labels[3:] = 1
    points = torch.cartesian_prod(torch.arange(9), torch.arange(4), torch.arange(4))
    whole = on_boundary(labels, points)
    assert whole.nonzero().squeeze(1).tolist() == list(range(32, 64))
    monkeypatch.setattr(voxel_sampling, "SLAB_DEPTH", 3)
    assert torch.equal(on_boundary(Counted(labels), points), whole)
