"""The short version of the families: permutations within families and intervals over families hold their level."""

import numpy as np
import pytest

from analysis.simulation.families import PoolsOfFamilies, family_pools

BOUNDS = {"coverage": (0.90, 0.98), "rejected": (0.03, 0.07)}
FOUR, TWO = "families of 4, 4, 4, 4; family correlation 0.8", "families of 8, 8; family correlation 0.8"


@pytest.fixture(scope="module")
def results(run_short):
    simulation = PoolsOfFamilies([[4, 4, 4, 4], [8, 8]], [0, 0.8], 0.6, **BOUNDS)
    return run_short(simulation, pools=150)


def test_p_values_within_families_hold_their_level_and_others_do_not(results, holds):
    assert all(holds(rows["p <= 0.05, permuted within families"]) for rows in results.values())
    free = [results[setting]["p <= 0.05, permuted among all sources"] for setting in (FOUR, TWO)]
    assert not any(row.required for row in free)
    assert np.mean([row.value for row in free]) > 0.07  # 0.13 and 0.19 of 1,000 pools
    assert holds(results["families of 8, 8; family correlation 0"]["p <= 0.05, permuted among all sources"])


def test_the_interval_over_families_covers_where_that_over_sources_does_not(results, holds):
    assert holds(results[FOUR]["coverage, interval over families"])
    plain = results[TWO]["coverage, interval over sources"]
    assert not plain.required
    assert plain.value < 0.85  # 0.75 of 1,000 pools
    assert holds(results["families of 4, 4, 4, 4; family correlation 0"]["coverage, interval over sources"])


def test_two_families_have_no_interval_over_families(results):
    row = results[TWO]["coverage, interval over families"]
    assert np.isnan(row.value)
    assert "2 families, an interval over families needs 3" in row.reason


def test_the_interval_within_families_is_given_for_families_of_six_or_more(results, holds):
    assert holds(results[TWO]["coverage, interval within families"])
    assert "4 sources" in results[FOUR]["coverage, interval within families"].reason


def test_the_pools_have_their_correlations():
    scores, dice = family_pools(4000, [3, 2], 0.5, 0.6, np.random.default_rng(0))
    # three standard errors of a correlation of 4,000 pools are at most 0.05
    assert np.corrcoef(dice.T)[0] == pytest.approx([1, 0.5, 0.5, 0, 0], abs=0.05)
    assert np.corrcoef(scores[:, 0], dice.T)[0, 1:] == pytest.approx([0.6, 0.3, 0.3, 0, 0], abs=0.05)
