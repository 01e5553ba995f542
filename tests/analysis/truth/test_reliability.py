"""Reliability of a known variance ratio, and the ceiling against a brute-force simulation."""

from itertools import combinations

import numpy as np
import pytest

from analysis.agreement.measure_table import KENDALL, PEARSON, PRIMARY, WEIGHTED_KENDALL
from analysis.agreement.rank_measures import UndefinedAgreementWarning, kendall
from analysis.truth.ceiling import ceiling, expected_dice, pearson_ceiling, seed_variances, simulated_ceiling
from analysis.truth.reliability import MOST_SPLITS, resampled_reliability, split_half_reliability, splits

TRUTHS = 200  # simulated truths; the mean of their ceilings has a standard error below 0.01
NEAR = 0.025  # two and a half standard errors of the comparison of two such means


def truths(*, n=14, s=4, between=0.1, within=0.1, shared=0.0, number=TRUTHS, seed=0):
    """Expected Dice (number, n) and observed Dice (number, n, s) of a normal two-level model."""
    generator = np.random.default_rng(seed)
    expected = 0.5 + between * generator.standard_normal((number, n))
    luck = shared * generator.standard_normal((number, 1, s)) + within * generator.standard_normal((number, n, s))
    return expected, expected[:, :, None] + luck


@pytest.mark.parametrize(("seeds", "number"), [(2, 1), (3, 3), (4, 3), (5, 10), (6, 10), (8, 35)])
def test_every_split_is_taken_once(seeds, number):
    halves = splits(seeds)
    both = {frozenset((frozenset(np.flatnonzero(mask)), frozenset(np.flatnonzero(~mask)))) for mask in halves}
    assert len(halves) == len(both) == number
    assert all(mask.sum() == seeds // 2 for mask in halves)


def test_many_seeds_have_a_bounded_choice_of_splits():
    halves = splits(16)
    assert MOST_SPLITS / 2 < len(halves) <= MOST_SPLITS
    assert len({tuple(mask) for mask in halves}) == len(halves)


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
    _, dice = truths(n=60, s=4, between=0.1, within=0.1)
    found = np.mean([split_half_reliability(pool, measure=PEARSON) for pool in dice])
    assert found == pytest.approx(1 / (1 + 2 / 4), abs=NEAR)


def test_known_variance_ratio_gives_its_kendall_reliability():
    # Greiner: for normal pairs with correlation r, Kendall's tau is 2/pi asin(r).
    _, dice = truths(n=60, s=4, between=0.1, within=0.1)
    found = np.mean([split_half_reliability(pool) for pool in dice])
    assert found == pytest.approx(2 / np.pi * np.arcsin(1 / 1.5), abs=NEAR)


def test_noise_alone_has_no_reliability():
    _, dice = truths(between=0.0)
    assert np.mean([split_half_reliability(pool) for pool in dice]) == pytest.approx(0, abs=NEAR)


def test_a_resample_that_draws_each_source_once_is_the_pool():
    _, dice = truths(number=1)
    once = np.ones((2, 14), dtype=np.int64)
    np.testing.assert_allclose(resampled_reliability(dice[0], once, KENDALL), split_half_reliability(dice[0]))


@pytest.mark.parametrize(
    ("shape", "reason"), [((2, 4), "2 sources, at least 3 are needed"), ((5, 1), "1 seeds, at least 2 are needed")]
)
def test_too_little_truth_has_no_reliability(shape, reason):
    with pytest.warns(UndefinedAgreementWarning, match=reason):
        assert np.isnan(split_half_reliability(np.random.default_rng(0).uniform(size=shape)))
    with pytest.raises(ValueError, match=reason):
        simulated_ceiling(np.zeros(shape), generator=np.random.default_rng(0))


def test_sources_alike_in_one_half_have_no_reliability():
    with pytest.warns(UndefinedAgreementWarning, match="alike in one half"):
        assert np.isnan(split_half_reliability(np.array([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0]])))


def test_bad_dice_is_named():
    with pytest.raises(ValueError, match=r"`dice` must be a finite matrix of shape \(n, s\), got shape \(3,\)"):
        split_half_reliability(np.zeros(3))


@pytest.mark.parametrize("measure", PRIMARY, ids=lambda measure: measure.name)
@pytest.mark.parametrize("within", [0.03, 0.1])
def test_ceiling_is_what_a_perfect_predictor_reaches(measure, within):
    # Brute force: the predictor knows the expected Dice, which the estimate never sees.
    expected, dice = truths(within=within, shared=0.1)
    reached = measure.of_rows(expected, dice.mean(axis=2)).mean()
    generator = np.random.default_rng(1)
    found = [
        ceiling(pool, measure=measure, generator=generator)
        if measure is PEARSON
        else simulated_ceiling(pool, measure=measure, generator=generator, draws=100)
        for pool in dice
    ]
    assert np.mean(found) == pytest.approx(reached, abs=NEAR)


def test_ceiling_holds_where_some_sources_are_noisier():
    generator = np.random.default_rng(2)
    expected, dice = truths(within=0.0)
    dice = dice + generator.choice([0.03, 0.19], p=[0.7, 0.3], size=(TRUTHS, 14, 1)) * generator.standard_normal(
        dice.shape
    )
    reached = KENDALL.of_rows(expected, dice.mean(axis=2)).mean()
    found = [simulated_ceiling(pool, measure=KENDALL, generator=generator, draws=100) for pool in dice]
    assert np.mean(found) == pytest.approx(reached, abs=NEAR)


def test_the_simulated_spread_is_the_observed_one():
    _, dice = truths(within=0.05, number=1)
    pool = dice[0]
    total = expected_dice(pool).var(ddof=1) + seed_variances(pool).mean() / 4
    assert total == pytest.approx(pool.mean(axis=1).var(ddof=1))


def test_a_lucky_seed_for_all_is_no_noise():
    _, dice = truths(within=0.02, number=1)
    lifted = dice[0] + np.array([0.0, 0.2, -0.1, 0.3])
    np.testing.assert_allclose(seed_variances(lifted), seed_variances(dice[0]))


@pytest.mark.parametrize("measure", PRIMARY, ids=lambda measure: measure.name)
def test_ceiling_ends(measure):
    generator = np.random.default_rng(0)
    exact = np.linspace(0.1, 0.8, 6)[:, None] + np.zeros(4)
    assert ceiling(exact, measure=measure, generator=generator) == pytest.approx(1)
    alternating = 0.5 + 0.1 * np.array([[1, -1, 1, -1], [-1, 1, -1, 1], [1, 1, -1, -1], [-1, -1, 1, 1.0]])
    assert simulated_ceiling(alternating, measure=WEIGHTED_KENDALL, generator=generator) == 0
    assert np.isnan(ceiling(exact[:, :1], measure=measure, generator=generator))


def test_pearson_ceiling_of_nan_is_nan():
    assert np.isnan(pearson_ceiling(np.nan))
