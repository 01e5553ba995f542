"""Pairwise Gaussian Wasserstein distances against closed forms, scipy's matrix root and float64 singular values."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from benchmark.core.wasserstein import (
    factor_moments,
    factor_samples,
    newton_schulz,
    nuclear_norms,
    pairwise_wasserstein2,
)
from benchmark.core.wasserstein.newton_schulz import polar_factors

# DESIGN's bound, relative to the float64 singular values
NUCLEAR = 1e-10
# scipy's matrix root is itself off by 3e-8 where a covariance is singular
SQRTM = 1e-6
# Two thousand float64 roundings, on the scale of the samples
ROUNDING = 1e-12


METHODS = [nuclear_norms, newton_schulz.nuclear_norms]


def draw(n, d, *, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64) / d**0.5
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing + offset


def distances(*samples):
    return pairwise_wasserstein2([factor_samples(rows) for rows in samples])


def by_matrix_root(a, b):
    covariances = [np.cov(rows.numpy(), rowvar=False) for rows in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1])
    shift = float((a.mean(dim=0) - b.mean(dim=0)).square().sum())
    return np.sqrt(shift + np.trace(covariances[0] + covariances[1] - 2 * root.real))


@pytest.mark.parametrize(("n", "q", "d"), [(50, 60, 4), (40, 30, 8), (10, 12, 32), (5, 80, 16), (17, 16, 16)])
def test_equals_the_matrix_root(n, q, d):
    a, b = draw(n, d, seed=1), draw(q, d, seed=2, offset=0.3)
    with np.errstate(all="ignore"):
        assert distances(a, b)[0, 1] == pytest.approx(by_matrix_root(a, b), rel=SQRTM)


@pytest.mark.parametrize(("n", "d"), [(100, 320), (400, 64), (64, 64), (65, 64), (2, 5)])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("nuclear", METHODS)
def test_nuclear_norm_equals_singular_values(n, d, relu, nuclear):
    samples = [draw(n, d, seed=seed) for seed in range(3)]
    if relu:  # dead channels: singular covariances
        samples = [rows.relu() * (torch.arange(d) % 3 > 0) for rows in samples]
    roots = [factor_samples(rows).root for rows in samples]
    centred = [(rows - rows.mean(dim=0)) / (n - 1) ** 0.5 for rows in samples]
    for i, j in ((0, 1), (1, 2)):
        left, right = sorted((roots[i], roots[j]), key=len)
        ours = nuclear((left @ right.T)[None])
        exact = torch.linalg.svdvals(centred[i] @ centred[j].T).sum()
        assert abs(ours / exact - 1) < NUCLEAR


@pytest.mark.parametrize("nuclear", METHODS)
def test_ill_conditioned_products_keep_the_bound(nuclear):
    # Singular values down to 1e-12 of the largest: squaring them loses all, so that singular values must be taken.
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64)).Q
    matrix = basis * torch.logspace(0, -12, 30, dtype=torch.float64) @ basis
    matrix[:, 0] *= 1e-9
    exact = torch.linalg.svdvals(matrix).sum()
    assert abs(nuclear(matrix[None])[0] / exact - 1) < NUCLEAR


@pytest.mark.parametrize("nuclear", METHODS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_nuclear_norms_of_known_matrices(nuclear, scale):
    turn = torch.linalg.qr(draw(6, 6)).Q
    rank_one = torch.outer(torch.arange(1.0, 7), torch.ones(6)).double()
    known = torch.stack([torch.zeros(6, 6), turn, torch.eye(6), rank_one]).double() * scale
    expected = torch.tensor([0.0, 6.0, 6.0, 546**0.5], dtype=torch.float64) * scale
    torch.testing.assert_close(nuclear(known), expected, rtol=NUCLEAR, atol=0)
    assert nuclear(known[:, :0]).tolist() == [0.0] * 4


def test_both_methods_give_the_same_distances():
    gaussians = [factor_samples(draw(n, 20, seed=n)) for n in (3, 15, 40, 41)]
    by_products = pairwise_wasserstein2(gaussians, method="newton_schulz")
    torch.testing.assert_close(by_products, pairwise_wasserstein2(gaussians, method="eigen"), rtol=1e-9, atol=0)
    with pytest.raises(ValueError, match='`method` must be "auto", "eigen" or "newton_schulz", got \'svd\''):
        pairwise_wasserstein2(gaussians, method="svd")


def test_the_polar_factor_is_a_partial_isometry():
    matrix = draw(5, 8)[None]
    factor = polar_factors(matrix)
    torch.testing.assert_close(factor @ factor.mT, torch.eye(5, dtype=torch.float64)[None])
    assert (torch.linalg.eigvalsh(factor.mT @ matrix) > -ROUNDING).all()


def test_one_dimension_in_closed_form():
    # For d = 1, W2^2 = (m_a - m_b)^2 + (s_a - s_b)^2.
    a, b = draw(30, 1, seed=1), draw(20, 1, seed=2) * 3 + 2
    expected = ((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2).sqrt()
    torch.testing.assert_close(distances(a, b)[0, 1], expected)


def test_a_shift_in_closed_form():
    # Equal covariances: W2 is the distance of the means.
    a = draw(20, 6)
    shift = torch.arange(6.0, dtype=torch.float64)
    torch.testing.assert_close(distances(a, a + shift)[0, 1], shift.norm(), rtol=1e-12, atol=0)


def test_a_scaling_in_closed_form():
    # S_b = t^2 S_a commutes with S_a: W2^2 = |1 - t|^2 (|m_a|^2 + tr S_a).
    a = draw(20, 6, offset=1.0)
    size = (a.mean(dim=0).square().sum() + torch.cov(a.T).trace()).sqrt()
    torch.testing.assert_close(distances(a, a * 3)[0, 1], 2 * size, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("n", "d"), [(40, 8), (8, 40), (2, 5)])
def test_identical_sets_are_nothing_apart(n, d):
    a = draw(n, d, offset=5.0)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert distances(a, a.clone(), a[order]).max() < ROUNDING


@pytest.mark.parametrize("gap", [1e-9, 1e-6, 1e-3])
def test_nearly_identical_sets_keep_their_digits(gap):
    # Scaling about the mean by 1 + gap: W2 = gap sqrt(tr S), far below what the difference of the traces resolves.
    a = draw(30, 50)
    mean = a.mean(dim=0)
    b = mean + (a - mean) * (1 + gap)
    assert distances(a, b)[0, 1] == pytest.approx(gap * float(torch.cov(a.T).trace().sqrt()), rel=1e-6)


def test_it_is_a_metric():
    matrix = distances(*(draw(12, 7, seed=seed, offset=seed % 3) for seed in range(5)))
    assert torch.equal(matrix, matrix.T)
    assert torch.equal(matrix.diagonal(), torch.zeros(5, dtype=torch.float64))
    for j in range(5):
        assert (matrix <= matrix[:, j : j + 1] + matrix[j : j + 1, :] + ROUNDING).all()


def test_rotation_and_translation_do_not_matter():
    a, b = draw(12, 7, seed=1), draw(30, 7, seed=2)
    turn = torch.linalg.qr(draw(7, 7, seed=3)).Q
    torch.testing.assert_close(distances(a @ turn + 1000, b @ turn + 1000), distances(a, b), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_scale_is_exact(scale):
    a, b = draw(12, 7, seed=1), draw(30, 7, seed=2)
    torch.testing.assert_close(distances(a * scale, b * scale), distances(a, b) * scale, rtol=1e-10, atol=0)


def test_sets_of_every_rank_together():
    samples = [draw(n, 6, seed=n) for n in (2, 3, 40, 7, 6)] + [torch.ones(9, 6), draw(9, 6) * (torch.arange(6) > 3)]
    matrix = distances(*samples)
    for i, a in enumerate(samples):
        for j, b in enumerate(samples[:i]):
            torch.testing.assert_close(matrix[i, j], distances(a, b)[0, 1], rtol=1e-10, atol=1e-12)


def test_constant_samples_are_points():
    torch.testing.assert_close(distances(torch.zeros(3, 2), torch.ones(5, 2))[0, 1], torch.tensor(2.0).double().sqrt())


def test_moments_and_samples_agree():
    a, b = draw(50, 6, seed=1), draw(30, 6, seed=2)
    by_moments = pairwise_wasserstein2([factor_moments(rows.mean(dim=0), torch.cov(rows.T)) for rows in (a, b)])
    torch.testing.assert_close(by_moments, distances(a, b), rtol=1e-10, atol=0)


def test_missing_and_bad_sets_are_nan():
    bad = draw(9, 4)
    bad[2, 1] = torch.inf
    gaussians = [factor_samples(draw(9, 4, seed=1)), None, factor_samples(bad), factor_samples(draw(8, 4, seed=2))]
    matrix = pairwise_wasserstein2(gaussians)
    assert matrix[[0, 0, 3, 3], [0, 3, 0, 3]].isfinite().all()
    assert matrix[1].isnan().all()
    assert matrix[:, 2].isnan().all()
    assert pairwise_wasserstein2([None, None]).isnan().all()
    assert pairwise_wasserstein2([]).shape == (0, 0)


@pytest.mark.parametrize("rows", [torch.zeros(1, 3), torch.zeros(3), torch.zeros(3, 0)])
def test_a_wrong_shape_is_named(rows):
    with pytest.raises(ValueError, match=r"`rows` must be real of shape \(n, d\) with n >= 2"):
        factor_samples(rows)


def test_moments_of_wrong_shape_are_named():
    with pytest.raises(ValueError, match=r"`mean` and `covariance` must have shapes \(d,\) and \(d, d\)"):
        factor_moments(torch.zeros(3), torch.zeros(2, 2))


def test_different_dimensions_are_refused():
    with pytest.raises(ValueError, match=r"`gaussians` must all have the same d, got \[2, 3\]"):
        distances(draw(5, 2), draw(5, 3))
