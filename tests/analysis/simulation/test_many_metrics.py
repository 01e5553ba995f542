"""The short version of the best of many: its corrected p-value holds its level, the plain one does not."""

import pytest

from analysis.simulation.many_metrics import BestOfMany


@pytest.fixture(scope="module")
def rows(run_short):
    simulation = BestOfMany(13, targets=5, metrics=12, sharings=[0.5], rejected=(0.03, 0.07))
    return run_short(simulation, pools=100)["best of 12; sharing 0.5"]


def test_the_corrected_p_value_of_the_best_holds_its_level(rows, holds):
    assert holds(rows["p <= 0.05, best, corrected (max-T)"])


def test_the_permutations_say_how_high_the_best_gets(rows, holds):
    name = "weighted_kendall of the best"
    assert holds(rows[f"{name} is above its 95% point by permutation"])
    for what in ("mean", "95% point"):
        assert abs(rows[f"{name}, {what}"].value - rows[f"{name}, {what} by permutation"].value) < 0.05


def test_the_plain_p_value_of_the_best_does_not(rows):
    plain = rows["p <= 0.05, best, not corrected"]
    assert not plain.required
    # 12 independent metrics: 1 - 0.95^12 = 0.46
    assert abs(plain.value - 0.46) < 3 * plain.error


def test_the_best_of_metrics_that_tell_nothing_is_above_0(rows):
    mean, high = (rows[f"weighted_kendall of the best, {name}"] for name in ("mean", "95% point"))
    assert 0.1 < mean.value < high.value < 0.7
