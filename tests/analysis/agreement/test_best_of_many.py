"""Corrected p-values: size under the null, order, and the best by chance."""

import numpy as np
import pytest

from analysis.agreement.best_of_many import best_by_chance, max_t_p

STUDIES = 400  # a share of 5% has a standard error of 0.011


def test_the_best_of_many_that_tell_nothing_is_significant_in_one_study_of_twenty():
    generator = np.random.default_rng(0)
    best, plain = [], []
    for _ in range(STUDIES):
        draws = generator.standard_normal((12, 200)) + generator.standard_normal(200)  # the metrics are correlated
        p = max_t_p(draws[:, 0], draws[:, 1:])
        best.append(p.min() <= 0.05)
        plain.append((draws[:, 1:] >= draws[:, :1]).mean(axis=1).min() <= 0.05)
    assert np.mean(best) == pytest.approx(0.05, abs=0.035)  # three standard errors
    assert np.mean(plain) > 0.15


def test_a_metric_with_a_wide_null_is_judged_by_its_own_spread():
    null = np.random.default_rng(1).standard_normal((2, 4000)) * [[1.0], [0.01]]
    p = max_t_p(np.array([1.0, 1.0]), null)
    assert p[0] > 0.2
    assert p[1] == pytest.approx(1 / 4001)


def test_both_sides_count_only_if_asked_for():
    null = np.random.default_rng(2).standard_normal((1, 1000))
    assert max_t_p(np.array([-5.0]), null)[0] == 1
    assert max_t_p(np.array([-5.0]), null, two_sided=True)[0] < 0.01


def test_undefined_metrics_are_no_part_of_the_family():
    null = np.random.default_rng(3).standard_normal((3, 500))
    null[1] = np.nan
    p = max_t_p(np.array([2.0, 1.0, np.nan]), null)
    assert np.isnan(p[1:]).all()
    assert p[0] == pytest.approx(max_t_p(np.array([2.0]), null[:1])[0])
    assert np.isnan(max_t_p(np.array([np.nan]), null[:1])).all()


def test_a_null_without_spread_has_no_p_value():
    assert np.isnan(max_t_p(np.array([0.5]), np.full((1, 10), 0.5))).all()


def test_the_best_by_chance_is_higher_the_more_there_are():
    null = np.random.default_rng(4).standard_normal((20, 2000))
    few, many = best_by_chance(null[:2]), best_by_chance(null)
    assert few.mean == pytest.approx(1 / np.sqrt(np.pi), abs=0.06)  # the expected maximum of two standard normals
    assert many.mean > few.mean
    assert (few.metrics, many.metrics) == (2, 20)
    assert np.isnan(best_by_chance(np.full((2, 5), np.nan)).mean)
