"""Other cases and other seeds: variances as the theory has them, and what is not known left out."""

import numpy as np
import pandas as pd
import pytest

from analysis.evaluation.correlate import correlate
from analysis.truth.pools import Pool
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS, redrawn_dice, with_cases

DRAWS = 4000
NEAR = 0.1  # relative, of a variance from 4,000 draws; three standard errors are 0.07


def pool(*, seeds=4, cases=None, n=5):
    dice = np.random.default_rng(0).uniform(0.2, 0.8, (n, seeds))
    return Pool("liver", "last", tuple("abcdefgh"[:n]), tuple(range(seeds)), dice, cases=cases)


def drawn(truth):
    return redrawn_dice(truth, draws=DRAWS, generator=np.random.default_rng(1))


@pytest.mark.parametrize("seeds", [2, 4])
def test_other_seeds_vary_as_a_mean_of_seeds_does(seeds):
    # The variance of the mean of s independent values is their variance (ddof 1) / s.
    truth = pool(seeds=seeds)
    found = drawn(truth)["seeds"]
    np.testing.assert_allclose(found.var(axis=0), truth.dice.var(axis=1, ddof=1) / seeds, rtol=NEAR)
    np.testing.assert_allclose(found.mean(axis=0), truth.mean, atol=0.02)


def test_other_cases_vary_as_a_mean_of_cases_does():
    cases = np.random.default_rng(2).uniform(0.2, 0.8, (5, 4, 12, 1))
    found = drawn(pool(cases=cases))["cases"]
    by_case = cases.mean(axis=(1, 3))
    np.testing.assert_allclose(found.var(axis=0), by_case.var(axis=1, ddof=1) / 12, rtol=NEAR)


def test_a_hard_case_moves_all_sources_alike():
    cases = 0.5 + 0.05 * np.arange(5)[:, None, None, None] + np.linspace(-0.2, 0.2, 8)[None, None, :, None]
    found = drawn(pool(cases=np.broadcast_to(cases, (5, 4, 8, 1))))["cases"]
    np.testing.assert_allclose(found - found[:, :1], np.broadcast_to(0.05 * np.arange(5), found.shape), atol=1e-12)


def test_a_class_counts_in_the_cases_that_hold_it():
    # Class 1 is 0.8 in every case, class 2 is 0.4 in the cases that hold it: any draw gives their mean, 0.6, or 0.8
    # where no drawn case holds class 2.
    cases = np.broadcast_to(np.array([0.8, 0.4]), (5, 4, 6, 2)).copy()
    cases[:, :, 2:, 1] = np.nan
    assert set(drawn(pool(cases=cases))["cases"].round(9).ravel()) == {0.6, 0.8}


def test_few_cases_or_one_seed_have_no_draws():
    assert set(drawn(pool(seeds=1))) == set()
    assert set(drawn(pool(cases=np.full((5, 4, 5, 1), 0.5)))) == {"seeds"}


def long(truth, values):
    rows = [
        (source, target, seed, tune, f"case{case}", "organ", dice + move)
        for source, target, seed, tune, dice in truth.itertuples(index=False)
        for case, move in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=list(CASE_COLUMNS))


def test_the_study_has_intervals_over_cases_and_seeds(planted):
    truth, scores, sources = planted
    cases = long(truth, np.linspace(-0.05, 0.05, 7))
    rows = correlate(truth, scores, sources, resamples=50, cases=cases).agreement_of()
    # Every source moves alike from case to case, so no ranking does; a seed is noise of its own for each source.
    good = rows.loc["good"]
    assert good["kendall_cases_low"] == pytest.approx(good["kendall"])
    assert good["kendall_cases_high"] == pytest.approx(good["kendall"])
    assert good["kendall_seeds_low"] < good["kendall_seeds_high"]
    assert np.isnan(rows.loc["constant", "kendall_seeds_low"])


def test_a_pool_whose_cases_are_not_whole_stays_without(planted):
    truth, _, _ = planted
    from analysis.truth.pools import pools

    cases = long(truth, [0.0, 0.1])
    whole = with_cases(pools(truth), cases.drop(cases.index[cases["target"] == "lung"][0]))
    assert [one.target for one in whole if one.cases is None] == ["lung"]
    with pytest.raises(ValueError, match=r"`cases` must have the columns .*, missing class"):
        with_cases(pools(truth), cases.drop(columns="class"))
