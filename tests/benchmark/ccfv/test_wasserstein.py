"""The two doors of the Gaussian Wasserstein distance."""

import math

import numpy as np
import pytest
import torch

from benchmark.ccfv import gaussian_wasserstein2, gaussian_wasserstein2_from_moments
from benchmark.metric.score import UndefinedScoreWarning


def draw(n, d, seed):
    return np.random.default_rng(seed).normal(size=(n, d)) * (1 + seed) + seed


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_both_doors_agree(convert):
    a, b = draw(40, 6, 1), draw(30, 6, 2)
    moments = [convert(value) for rows in (a, b) for value in (rows.mean(axis=0), np.cov(rows, rowvar=False))]
    by_samples = gaussian_wasserstein2(convert(a), convert(b))
    assert gaussian_wasserstein2_from_moments(*moments) == pytest.approx(by_samples, rel=1e-10)


def test_unit_gaussians_in_closed_form():
    # S_b = t^2 I and S_a = I: W2^2 = |m|^2 + d (1 - t)^2.
    zero, eye = np.zeros(3), np.eye(3)
    assert gaussian_wasserstein2_from_moments(zero, eye, zero + 2, 9 * eye) == pytest.approx(math.sqrt(12 + 12))


def test_a_point_mass_has_no_covariance():
    zero, eye = np.zeros(3), np.eye(3)
    assert gaussian_wasserstein2_from_moments(zero, 0 * eye, zero, eye) == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_undefined(n):
    with pytest.warns(UndefinedScoreWarning, match=f"`b` has {n} rows: a covariance needs 2"):
        assert math.isnan(gaussian_wasserstein2(draw(5, 3, 1), draw(n, 3, 2)))


def test_bad_numbers_are_undefined():
    bad = draw(5, 3, 1)
    bad[1, 1] = np.nan
    with pytest.warns(UndefinedScoreWarning, match="a channel holds NaN or inf"):
        assert math.isnan(gaussian_wasserstein2(draw(5, 3, 1), bad))
    with pytest.warns(UndefinedScoreWarning, match="a channel holds NaN or inf"):
        gaussian_wasserstein2_from_moments(bad[1], np.eye(3), bad[0], np.eye(3))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"`a` must be real numbers of shape \(n, d\), got torch.float64 \(5,\)"):
        gaussian_wasserstein2(np.zeros(5), np.zeros((5, 1)))
    with pytest.raises(ValueError, match="must all have the same d"):
        gaussian_wasserstein2(np.zeros((5, 2)), np.zeros((5, 3)))
