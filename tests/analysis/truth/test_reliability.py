"""Split-half reliability of a known variance ratio, and Spearman-Brown."""

from itertools import combinations

import numpy as np
import pytest

from analysis.agreement.measure_table import PEARSON
from analysis.agreement.rank_measures import UndefinedAgreementWarning, kendall
from analysis.truth.ceiling import simulated_ceiling
from analysis.truth.reliability import spearman_brown, split_half_reliability

NEAR = 0.025  # three standard errors of the mean over 200 pools


def truths(*, n=60, s=4, between=0.1, within=0.1, number=200, seed=0):
    """Observed Dice (number, n, s) of a normal two-level model."""
    generator = np.random.default_rng(seed)
    expected = 0.5 + between * generator.standard_normal((number, n, 1))
    return expected + within * generator.standard_normal((number, n, s))


def test_is_the_mean_over_the_splits_written_out():
    dice = np.random.default_rng(0).uniform(size=(9, 4))
    values = []
    for first in combinations(range(4), 2):
        rest = [seed for seed in range(4) if seed not in first]
        values.append(kendall(dice[:, first].mean(axis=1), dice[:, rest].mean(axis=1)))
    assert split_half_reliability(dice) == pytest.approx(np.mean(values))


def test_known_variance_ratio_gives_its_pearson_reliability():
    # Half-means have variance between^2 + within^2 / (s/2) and covariance between^2:
    # r = 1 / (1 + 2 within^2 / (s between^2)).
    mean = np.mean([split_half_reliability(pool, measure=PEARSON) for pool in truths()])
    assert mean == pytest.approx(1 / (1 + 2 / 4), abs=NEAR)


def test_known_variance_ratio_gives_its_kendall_reliability():
    # Greiner: for normal pairs with correlation r, Kendall's tau is 2/pi asin(r).
    mean = np.mean([split_half_reliability(pool) for pool in truths()])
    assert mean == pytest.approx(2 / np.pi * np.arcsin(1 / 1.5), abs=NEAR)


def test_noise_alone_has_no_reliability():
    assert np.mean([split_half_reliability(pool) for pool in truths(between=0.0)]) == pytest.approx(0, abs=NEAR)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((2, 4), "2 sources, at least 3 are needed"),
        ((1, 4), "1 source, at least 3"),
        ((5, 1), "1 seed, at least 2 are needed"),
    ],
)
def test_too_little_truth_has_no_reliability(shape, reason):
    with pytest.warns(UndefinedAgreementWarning, match=reason):
        assert np.isnan(split_half_reliability(np.random.default_rng(0).uniform(size=shape)))
    with pytest.raises(ValueError, match=reason):
        simulated_ceiling(np.zeros(shape), generator=np.random.default_rng(0))


def test_sources_alike_in_one_half_have_no_reliability():
    with pytest.warns(UndefinedAgreementWarning, match="all sources are alike in one half of the seeds"):
        assert np.isnan(split_half_reliability(np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])))


def test_bad_dice_is_named():
    with pytest.raises(ValueError, match=r"`dice` must be a finite matrix of shape \(n, s\), got shape \(3,\)"):
        split_half_reliability(np.zeros(3))


@pytest.mark.parametrize("lengthening", [2.0, 3.0, 4.0])
def test_spearman_brown_is_the_reliability_of_the_whole(lengthening):
    # Variances t and k v of a half, t and v of the whole: t / (t + k v) becomes t / (t + v).
    t, v = 0.3, 0.2
    half = np.array([t / (t + lengthening * v)])
    assert spearman_brown(half, lengthening=lengthening) == pytest.approx([t / (t + v)])
    assert spearman_brown(-half, lengthening=lengthening) == pytest.approx([-t / (t + v)])
    assert spearman_brown(np.array([0.0, 1.0]), lengthening=lengthening).tolist() == [0, 1]
