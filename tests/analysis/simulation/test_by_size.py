"""The short version of the pools by size: intervals cover, p-values are uniform, and none is given for 4 sources."""

import numpy as np
import pytest

from analysis.agreement.measure_table import MEASURES, PEARSON, PRIMARY
from analysis.simulation.by_size import BOOTSTRAPPED, DIFFERENCE, NOT_GIVEN, PoolsBySize, normal_pools
from benchmark.errors import InputError

BOUNDS = {"coverage": (0.90, 0.98), "rejected": (0.03, 0.07)}


@pytest.fixture(scope="module")
def results(run_short):
    return run_short(PoolsBySize([4, 15], 0.6, **BOUNDS), pools=150, resamples=300)


def test_every_interval_covers_and_p_values_are_uniform(results, holds):
    rows = results["15 sources"]
    names = [measure.name for measure in MEASURES] + [DIFFERENCE]
    assert all(holds(rows[f"coverage, {name}"]) for name in names)
    assert all(holds(rows[f"p <= 0.05, {measure.name}"]) for measure in PRIMARY)
    assert all(rows[f"p-values are uniform (Kolmogorov-Smirnov), {measure.name}"].met for measure in PRIMARY)
    assert not any(name.endswith(NOT_GIVEN) for name in rows)


def test_four_sources_have_only_the_interval_of_pearson(results, holds):
    rows = results["4 sources"]
    assert holds(rows[f"coverage, {PEARSON.name}"])
    for name in [*(measure.name for measure in BOOTSTRAPPED), DIFFERENCE]:
        assert np.isnan(rows[f"coverage, {name}"].value)
        assert "4 sources, an interval of " in rows[f"coverage, {name}"].reason
    # what it would cover, and why there is none
    for name in ("kendall", "weighted_kendall", "spearman", "rel_1", "rel_3", "top1_regret"):
        row = rows[f"coverage, {name}{NOT_GIVEN}"]
        assert row.value < 0.90
        assert not row.required


def test_the_pools_have_their_correlation():
    scores, dice = normal_pools(2000, 20, 0.6, np.random.default_rng(0))
    correlations = [np.corrcoef(score.ravel(), dice.ravel())[0, 1] for score in scores]
    assert correlations == pytest.approx([0.6, 0.6], abs=0.02)  # three standard errors at 40,000 pairs are 0.01


def test_a_correlation_of_1_is_refused():
    with pytest.raises(InputError, match="`correlation` must be between -1 and 1, got 1"):
        PoolsBySize([10], 1, **BOUNDS)
