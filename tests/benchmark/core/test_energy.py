"""Riesz energy against all distances at once, and against points whose energy is known."""

import math

import pytest
import torch

from benchmark.core.energy import reference, riesz_energy

# Each distance is good to 1e-9
DISTANCES = 2e-9


def direct(points, *, s=1, floor=1e-3, reduction="mean"):
    x = points.double()
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=floor)
    distances.fill_diagonal_(torch.inf)
    n = len(x)
    return float((distances**-s).sum()) / (n * (n - 1) if reduction == "mean" else 1)


def draw(n=60, d=7, *, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("s", [1, 2])
@pytest.mark.parametrize("n", [2, 3, 60, 513])
def test_equals_all_distances(n, s, reduction):
    points = draw(n)
    ours = riesz_energy(points, s=s, reduction=reduction)
    assert ours == pytest.approx(direct(points, s=s, reduction=reduction), rel=DISTANCES)


@pytest.mark.parametrize(("scale", "offset"), [(1e-3, 0), (1e4, 0), (1, 1000), (1e-3, 1000)])
def test_scale_and_offset_cost_no_digits(scale, offset):
    points = draw() * scale + offset
    assert riesz_energy(points, floor=1e-12) == pytest.approx(direct(points, floor=1e-12), rel=DISTANCES)


@pytest.mark.parametrize("gap", [0.0, 1e-13, 1e-8, 1e-5])
def test_close_pairs_are_as_exact_as_far_ones(gap):
    points = draw()
    points = torch.cat([points, points + gap])
    assert riesz_energy(points, floor=1e-12) == pytest.approx(direct(points, floor=1e-12), rel=DISTANCES)


def test_blocks_do_not_matter(monkeypatch):
    points = draw().relu()
    whole = riesz_energy(points)
    monkeypatch.setattr(reference, "BLOCK_ROWS", 7)
    monkeypatch.setattr(reference, "CLOSE_PAIRS", 3)
    assert riesz_energy(points) == pytest.approx(whole, rel=DISTANCES)


def test_known_energies():
    # The four corners of a regular simplex with edge a are all a apart; identical points stand at the floor.
    simplex = torch.eye(4) * 3
    assert riesz_energy(simplex) == pytest.approx(1 / (3 * math.sqrt(2)))
    assert riesz_energy(torch.ones(5, 3), floor=1e-2, s=2) == pytest.approx(1e4)
    assert riesz_energy(torch.ones(5, 3), floor=1e-2, reduction="sum") == pytest.approx(20 * 1e2)


def test_energy_falls_as_points_spread():
    points = draw()
    assert riesz_energy(points) > riesz_energy(points * 2)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_points_have_none(n):
    assert math.isnan(riesz_energy(torch.zeros(n, 3)))


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_bad_numbers_have_none(poison):
    points = draw()
    points[3, 2] = poison
    assert math.isnan(riesz_energy(points))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"s": 0}, "`s` must be positive, got 0"),
        ({"floor": 0.0}, "`floor` must be positive, got 0.0"),
        ({"reduction": "max"}, '`reduction` must be "mean" or "sum", got \'max\''),
    ],
)
def test_arguments_are_checked(arguments, text):
    with pytest.raises(ValueError, match=text):
        riesz_energy(draw(), **arguments)


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"`points` must be real of shape \(n, d\)"):
        riesz_energy(torch.zeros(3))
