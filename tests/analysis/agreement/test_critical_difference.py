"""Critical differences against published quantiles, Friedman's p against scipy, and what cannot be compared."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare

from analysis.agreement.critical_difference import critical_difference

# Demsar, JMLR 2006, Table 5a: q at 0.05 for 2 .. 10 classifiers
Q = {3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
PRINTED = 1.5e-3  # the table's last digit


def table(k, n, seed=0):
    values = np.random.default_rng(seed).normal(size=(k, n))
    return pd.DataFrame(values, index=[f"m{i}" for i in range(k)], columns=[f"t{i}" for i in range(n)])


@pytest.mark.parametrize("k", Q)
def test_the_difference_has_the_published_quantile(k):
    found = critical_difference(table(k, 14))
    assert found.difference / np.sqrt(k * (k + 1) / (6 * 14)) == pytest.approx(Q[k], abs=PRINTED)


def test_ranks_are_means_over_targets_best_first():
    rows = pd.DataFrame({"liver": [0.1, 0.9, 0.5], "lung": [0.2, 0.2, 0.8]}, index=["a", "b", "c"])
    found = critical_difference(rows)
    assert dict(found.ranks) == {"c": 1.5, "b": 1.75, "a": 2.75}  # a and b tie on the lung: ranks 2 and 3
    assert list(found.ranks) == ["c", "b", "a"]
    assert found.targets == 2


def test_the_p_value_is_friedmans():
    rows = table(5, 8)
    assert critical_difference(rows).p == pytest.approx(friedmanchisquare(*rows.to_numpy()).pvalue)


def test_metrics_that_are_alike_everywhere_have_a_p_value_of_one():
    rows = pd.DataFrame(0.5, index=["a", "b", "c"], columns=["liver", "lung"])
    found = critical_difference(rows)
    assert found.p == 1
    assert found.cliques == (("a", "b", "c"),)


def test_a_metric_that_is_undefined_on_a_target_is_named():
    rows = table(5, 4)
    rows.loc["m2", "t1"] = np.nan
    found = critical_difference(rows)
    assert found.left_out == ("m2",)
    assert "m2" not in found.ranks


@pytest.mark.parametrize(("k", "n"), [(2, 5), (5, 1), (0, 3)])
def test_too_few_are_not_compared(k, n):
    found = critical_difference(table(k, n))
    assert np.isnan(found.difference)
    assert found.reason == f"needs 3 metrics that are defined on all of at least 2 targets, got {k} on {n}"


def test_cliques_are_the_largest_groups_within_the_difference():
    # One order on every target, so that mean ranks are 1 .. 8 and any two further apart than CD differ.
    rows = pd.DataFrame({f"t{i}": np.arange(8.0)[::-1] for i in range(40)}, index=list("abcdefgh"))
    found = critical_difference(rows)
    assert 1 < found.difference < 2
    assert found.cliques == tuple((a, b) for a, b in zip("abcdefg", "bcdefgh", strict=True))
    fewer = critical_difference(rows.iloc[:, :2])
    assert fewer.difference > 7
    assert fewer.cliques == (tuple("abcdefgh"),)
