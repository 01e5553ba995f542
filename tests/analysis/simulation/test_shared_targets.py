"""The short version of the shared targets: the critical difference and the mean's p-value and interval hold."""

import numpy as np
import pytest

from analysis.agreement.measure_table import PRIMARY
from analysis.simulation.shared_targets import DIFFERENCE, SharedTargets, shared_studies

BOUNDS = {"coverage": (0.90, 0.98), "rejected": (0.03, 0.07)}


@pytest.fixture(scope="module")
def results(run_short):
    simulation = SharedTargets(13, targets=5, metrics=5, sharings=[0.8], correlations=[0, 0.5], **BOUNDS)
    return run_short(simulation, pools=100)


def test_the_critical_difference_holds_its_level_and_friedman_s_test_does_not(results, holds):
    for rows in results.values():
        assert holds(rows["p <= 0.05, critical difference"])
        assert not rows["p <= 0.05, Friedman's test"].required
        assert rows["p <= 0.05, Friedman's test"].value > 0.3  # 0.57 and 0.65 of 1,000 pools


def test_the_mean_over_targets_has_a_p_value_and_an_interval_that_hold(results, holds):
    for measure in PRIMARY:
        assert holds(results["sharing 0.8; correlation 0"][f"p <= 0.05, mean of {measure.name} over targets"])
        assert f"p <= 0.05, mean of {measure.name} over targets" not in results["sharing 0.8; correlation 0.5"]
        assert all(holds(rows[f"coverage, mean of {measure.name} over targets"]) for rows in results.values())


def test_the_interval_of_the_difference_of_two_means_covers(results, holds):
    assert all(holds(rows[f"coverage, {DIFFERENCE}"]) for rows in results.values())


def test_the_studies_have_their_correlations():
    scores, dice = shared_studies(4000, (2, 2, 1), 0.5, 0.6, np.random.default_rng(0))
    # three standard errors of a correlation of 4,000 studies are at most 0.05; 0.6^2 = 0.36 is what two metrics share
    values = np.concatenate([dice[:, :, 0], scores[:, 0, :, 0], scores[:, 1, :, 0]], axis=1)
    assert np.corrcoef(values.T)[0] == pytest.approx([1, 0.5, 0.6, 0.3, 0.6, 0.3], abs=0.05)
    assert np.corrcoef(values.T)[2] == pytest.approx([0.6, 0.3, 1, 0.5, 0.36, 0.18], abs=0.05)
