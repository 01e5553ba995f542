"""KL and Bhattacharyya between Gaussians: closed forms, libraries, invariances, and what has no number."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from benchmark.ccfv import distances
from benchmark.ccfv.distances import pairwise_bhattacharyya, pairwise_distances, pairwise_kl
from benchmark.core.wasserstein import Factor, factor_samples

# Float64 with inverses of covariances whose condition number is at most d / a = 2,400
INVERSE = {"rel": 1e-9, "abs": 1e-12}
DIVERGENCES = ["kl", "bhattacharyya"]


def rows(n, d, seed, shift=0.0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw, dtype=torch.float64) * (1 + seed) + shift


def shrunk(samples, shrinkage=0.01):
    covariance = torch.as_tensor(np.cov(samples.numpy(), rowvar=False))
    eye = torch.eye(len(covariance), dtype=torch.float64)
    return (1 - shrinkage) * covariance + shrinkage * covariance.trace() / len(covariance) * eye


def test_gaussians_of_one_dimension_in_closed_form():
    # (1 - a) S + a tr(S) / 1 = S, so the shrinkage does nothing. Variances 1 and 4, means 0 and 3.
    a = Factor(torch.tensor([0.0]).double(), torch.tensor([[1.0]]).double())
    b = Factor(torch.tensor([3.0]).double(), torch.tensor([[2.0]]).double())
    directed = pairwise_kl([a, b])
    assert float(directed[0, 1]) == pytest.approx(math.log(2) + (1 + 9) / (2 * 4) - 1 / 2)
    assert float(directed[1, 0]) == pytest.approx(-math.log(2) + (4 + 9) / 2 - 1 / 2)
    symmetric = pairwise_distances([a, b], "kl")
    assert symmetric[0, 1] == symmetric[1, 0] == (directed[0, 1] + directed[1, 0]) / 2
    expected = 9 / (4 * (1 + 4)) + math.log((1 + 4) / (2 * 1 * 2)) / 2
    assert float(pairwise_bhattacharyya([a, b])[0, 1]) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (7, 24)], ids=["n > d", "n < d"])
@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_both_equal_a_computation_with_whole_matrices(n, d, shrinkage):
    samples = [rows(n, d, seed, shift=seed) for seed in range(3)]
    gaussians = [factor_samples(sample) for sample in samples]
    normals = [MultivariateNormal(sample.mean(dim=0), shrunk(sample, shrinkage)) for sample in samples]
    directed = pairwise_kl(gaussians, shrinkage=shrinkage)
    coefficients = pairwise_bhattacharyya(gaussians, shrinkage=shrinkage)
    for i, p in enumerate(normals):
        for j, q in enumerate(normals):
            assert float(directed[i, j]) == pytest.approx(float(kl_divergence(p, q)), **INVERSE)
            middle, difference = (p.covariance_matrix + q.covariance_matrix) / 2, p.mean - q.mean
            determinants = torch.logdet(middle) - (p.covariance_matrix.logdet() + q.covariance_matrix.logdet()) / 2
            expected = difference @ torch.linalg.solve(middle, difference) / 8 + determinants / 2
            assert float(coefficients[i, j]) == pytest.approx(float(expected), **INVERSE)


@pytest.mark.parametrize("n", [30, 5])
@pytest.mark.parametrize("distance", DIVERGENCES)
def test_symmetric_zero_for_equals_and_the_same_after_rotation_shift_and_scale(distance, n):
    samples = [rows(n, 8, seed, shift=seed) for seed in range(3)]
    gaussians = [factor_samples(sample) for sample in [*samples, samples[0].flip(0)]]
    values = pairwise_distances(gaussians, distance)
    assert torch.equal(values, values.T)
    assert values[0, 3] == 0.0
    assert values.diagonal().tolist() == [0.0] * 4
    assert (values[:3, :3].triu(1) > 0).sum() == 3
    turn = torch.linalg.qr(rows(8, 8, 9)).Q
    moved = [factor_samples(500 * (sample @ turn) + 7) for sample in samples]
    assert torch.allclose(pairwise_distances(moved, distance), values[:3, :3], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("distance", DIVERGENCES)
def test_a_gaussian_that_has_none_is_nan_and_the_others_have_a_number(distance):
    constant = torch.full((5, 3), 1000.0)
    rounded = constant + torch.tensor([[6e-5], [0], [0], [0], [0]])  # the next float32
    usable = [factor_samples(rows(9, 3, seed)) for seed in range(2)]
    others = [None, factor_samples(constant), factor_samples(rounded), factor_samples(rows(9, 3, 1) * math.inf)]
    values = pairwise_distances([usable[0], *others, usable[1]], distance)
    assert values[1:5].isnan().all()
    assert values[:, 1:5].isnan().all()
    assert torch.equal(values[[0, 0, 5, 5], [0, 5, 0, 5]], pairwise_distances(usable, distance).flatten())
    assert pairwise_distances(others, distance).isnan().all()


def test_pairs_are_the_same_whatever_is_factored_together(monkeypatch):
    gaussians = [factor_samples(rows(6, 4, seed)) for seed in range(5)]
    whole = pairwise_bhattacharyya(gaussians)
    monkeypatch.setattr(distances, "CHUNK", 1)
    assert torch.equal(pairwise_bhattacharyya(gaussians), whole)


def test_arguments_are_checked():
    gaussians = [factor_samples(rows(4, 5, seed)) for seed in range(2)]
    with pytest.raises(ValueError, match="`distance` must be"):
        pairwise_distances(gaussians, "l2")
    with pytest.raises(ValueError, match=r"shrinkage must be a number from 0\.0001 to 1, got 0"):
        pairwise_kl(gaussians, shrinkage=0)
