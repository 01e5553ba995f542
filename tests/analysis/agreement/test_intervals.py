"""Intervals are those of their formulas, p-values are uniform under the null, draws are what they say."""

import numpy as np
import pytest
from scipy import stats

from analysis.agreement.intervals import (
    bca_interval,
    expanded_interval,
    fisher_interval,
    percentile_interval,
    permutation_p,
)
from analysis.agreement.measure_table import MEASURES, PEARSON, PRIMARY
from analysis.agreement.source_bootstrap import draw


def test_fisher_interval_is_scipys():
    x, y = np.random.default_rng(0).normal(size=(2, 15))
    found, expected = fisher_interval(PEARSON.of_pool(x, y), 15), stats.pearsonr(x, y).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("r", "n", "reason"), [(0.5, 3, "3 sources"), (np.nan, 9, "the correlation is undefined")])
def test_fisher_interval_says_why_not(r, n, reason):
    found = fisher_interval(r, n)
    assert np.isnan([found.low, found.high]).all()
    assert reason in found.reason


def test_bca_interval_is_scipys():
    # Means of a skewed sample: the same resamples, bias and acceleration on both sides, other random draws.
    generator = np.random.default_rng(1)
    sample = generator.exponential(size=30)
    resampled = generator.choice(sample, size=(20_000, 30)).mean(axis=1)
    jackknife = (sample.sum() - sample) / 29
    found = bca_interval(sample.mean(), resampled, jackknife)
    expected = stats.bootstrap((sample,), np.mean, n_resamples=20_000, rng=2).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_too_many_undefined_resamples_leave_no_interval():
    values = np.where(np.arange(20) < 6, np.nan, 0.5)
    assert percentile_interval(values).reason == "undefined in 6 of 20 resamples"
    assert bca_interval(0.5, values, np.ones(4)).reason == "undefined in 6 of 20 resamples"
    assert percentile_interval(values[4:]).reason == ""
    assert percentile_interval(values[11:]).reason == "9 resamples, at least 10 are needed"
    assert (
        bca_interval(0.5, np.linspace(0, 1, 50), np.array([0.1, np.nan])).reason
        == "undefined without one of the sources"
    )


def test_an_expanded_interval_takes_students_quantiles():
    # Of normal resamples with standard deviation sqrt((n - 1) / n) sd / sqrt(n) it is the interval of Student's t.
    n, sd = 10, 1.0
    quantiles = stats.norm.ppf(np.linspace(0.00005, 0.99995, 100_000)) * sd * np.sqrt((n - 1) / n) / np.sqrt(n)
    half = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
    found = expanded_interval(quantiles, n)
    assert (found.low, found.high) == pytest.approx((-half, half), rel=0.005)
    plain = percentile_interval(quantiles)
    assert found.low < plain.low < plain.high < found.high


def test_each_measure_takes_the_interval_that_covers():
    draws = np.random.default_rng(0).normal(size=1000)
    by_name = {measure.name: measure for measure in MEASURES}
    assert by_name["kendall"].interval(draws, 50) == percentile_interval(draws)
    assert by_name["weighted_kendall"].interval(draws, 14) == percentile_interval(draws)
    assert by_name["weighted_kendall"].interval(draws, 15) == expanded_interval(draws, 15)
    assert by_name["top1_regret"].interval(draws, 10) == expanded_interval(draws, 10, level=0.98)


@pytest.mark.parametrize("measure", PRIMARY, ids=lambda measure: measure.name)
def test_p_values_are_uniform_under_the_null(measure):
    # Scores and Dice drawn apart: P(p <= a) = a up to the grid of 1/200 and, for Kendall's 191 values at n = 20, atoms
    # of about 0.03. Kolmogorov-Smirnov at 1 in 1,000 allows 0.14 at 200 studies.
    generator = np.random.default_rng(4)
    names = [f"{i:02d}" for i in range(20)]
    values = []
    for _ in range(200):
        x, y = generator.normal(size=(2, 20))
        permuted = draw(names, resamples=199, generator=generator).permuted(names)
        values.append(permutation_p(measure.of_pool(x, y), measure.of_rows(x, y[permuted])))
    assert stats.kstest(values, "uniform").pvalue > 0.001


def test_p_is_undefined_with_the_measure():
    assert np.isnan(permutation_p(np.nan, np.zeros(3)))
    assert np.isnan(permutation_p(0.5, np.array([np.nan, 0.0])))


def test_draws_are_shared_between_pools():
    draws = draw("abcdef", resamples=50, generator=np.random.default_rng(5))
    assert (draws.counts.sum(axis=1) == 6).all()
    np.testing.assert_array_equal(draws.counts_of(["f", "a"]), draws.counts[:, [5, 0]])
    np.testing.assert_array_equal(draws.without_one(["c"])[:, 0], [1, 1, 0, 1, 1, 1])


def test_permutations_of_a_part_are_uniform():
    # The first-return map of a uniform permutation is uniform: each of the 3! orders has probability 1/6.
    draws = draw("abcdefg", resamples=6000, generator=np.random.default_rng(6))
    permuted = draws.permuted(["b", "d", "e"])
    assert (np.sort(permuted, axis=1) == np.arange(3)).all()
    _, number = np.unique(permuted, axis=0, return_counts=True)
    assert len(number) == 6
    assert stats.chisquare(number).pvalue > 0.001


def test_bad_draws_are_named():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="`names` must contain at least one source, got none"):
        draw([], resamples=1, generator=generator)
    with pytest.raises(ValueError, match="`resamples` must be at least 1, got 0"):
        draw("ab", resamples=0, generator=generator)
