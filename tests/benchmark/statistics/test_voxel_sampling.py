"""Which voxels are sampled: uniform, without replacement, from nothing but seed, case and class."""

import torch

from benchmark.statistics.voxel_sampling import draw_voxels, inside, on_boundary

LABELS = torch.tensor([0, 1, 1, 2, 0, 1] * 20).reshape(4, 5, 6)


def test_positions_are_distinct_voxels_of_the_class():
    draw = draw_voxels(LABELS, 1, 25, seed=0, case="a")
    assert draw.positions.shape == (25, 3)
    assert len({tuple(position) for position in draw.positions.tolist()}) == 25
    assert (LABELS[tuple(draw.positions.T)] == 1).all()
    assert (draw.priorities.diff() >= 0).all()


def test_a_smaller_draw_is_the_start_of_a_larger_one():
    few, many = (draw_voxels(LABELS, 1, count, seed=0, case="a") for count in (10, 30))
    assert torch.equal(many.positions[:10], few.positions)


def test_all_voxels_of_a_rare_class_are_taken():
    assert len(draw_voxels(LABELS, 2, 100, seed=0, case="a").positions) == 20
    assert len(draw_voxels(LABELS, 3, 100, seed=0, case="a").positions) == 0


def test_without_a_class_it_is_the_whole_image():
    assert len(draw_voxels(LABELS, None, 1000, seed=0, case="a").positions) == 120


def test_seed_case_and_class_all_matter():
    draws = [
        draw_voxels(LABELS, label, 5, seed=seed, case=case).priorities.tolist()
        for label, seed, case in ((1, 0, "a"), (0, 0, "a"), (1, 1, "a"), (1, 0, "b"))
    ]
    assert len({tuple(draw) for draw in draws}) == 4


def test_every_voxel_is_as_likely():
    # 400 draws of 12 of 60 voxels: 80 expected each, standard deviation 8; five of them on either side.
    counts = torch.zeros(120)
    for seed in range(400):
        positions = draw_voxels(LABELS, 1, 12, seed=seed, case="a").positions
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
