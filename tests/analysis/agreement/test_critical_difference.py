"""The critical difference of planted draws: against the studentised range, its size, and what cannot be compared."""

import numpy as np
import pytest
from scipy.stats import studentized_range

from analysis.agreement.critical_difference import critical_difference

DRAWS = 20_000


def drawn(values, *, spread=0.1, draws=DRAWS, seed=0):
    noise = spread * np.random.default_rng(seed).standard_normal((len(values), draws))
    return {name: value + row for (name, value), row in zip(values.items(), noise, strict=True)}


@pytest.mark.parametrize("k", [3, 5, 10])
def test_independent_metrics_of_equal_spread_have_the_quantile_of_the_range(k):
    values = {f"m{place}": 0.0 for place in range(k)}
    expected = 0.1 * studentized_range.isf(0.05, k, np.inf)
    assert critical_difference(values, drawn(values), sources=12).difference == pytest.approx(expected, rel=0.03)


def test_metrics_that_move_together_differ_sooner():
    values = {"a": 0.5, "b": 0.4, "c": 0.3}
    shared = np.random.default_rng(1).standard_normal(DRAWS)
    together = {name: row + shared for name, row in drawn(values, spread=0.01).items()}
    found = critical_difference(values, together, sources=12)
    assert found.cliques == ()
    assert found.p < 0.001


def test_the_best_comes_first_and_cliques_are_the_largest_groups():
    values = {"c": 0.1, "a": 0.9, "b": 0.5, "d": 0.05}
    found = critical_difference(values, drawn(values, spread=0.03), sources=12)
    assert list(found.agreement) == ["a", "b", "c", "d"]
    assert found.cliques == (("c", "d"),)


def test_metrics_that_agree_equally_have_a_p_value_of_one():
    values = dict.fromkeys("abc", 0.5)
    found = critical_difference(values, drawn(values), sources=12)
    assert found.p == 1
    assert found.cliques == (("a", "b", "c"),)


def test_an_undefined_metric_is_named():
    values = {"a": 0.5, "b": 0.4, "c": 0.3, "d": float("nan")}
    found = critical_difference(values, drawn(values, draws=100), sources=12)
    assert found.left_out == ("d",)
    assert "d" not in found.agreement


@pytest.mark.parametrize(("metrics", "sources"), [(2, 12), (5, 5), (0, 12)])
def test_too_few_are_not_compared(metrics, sources):
    values = {f"m{place}": 0.1 * place for place in range(metrics)}
    found = critical_difference(values, drawn(values, draws=100), sources=sources)
    assert np.isnan(found.difference)
    expected = (
        f"{metrics} metrics are defined on all targets, at least 3 are needed"
        if metrics < 3
        else "5 sources, at least 6"
    )
    assert expected in found.reason


def test_a_metric_undefined_in_many_resamples_is_left_out():
    values = {"a": 0.5, "b": 0.4, "c": 0.3, "d": 0.2}
    draws = drawn(values, draws=100)
    draws["b"][:50] = np.nan
    draws["c"][:10] = np.nan
    found = critical_difference(values, draws, sources=12)
    assert found.left_out == ("b",)
    assert np.isfinite(found.difference)
