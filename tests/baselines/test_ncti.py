"""NCTI: its elements, and how they are normalised over a pool."""

import math

import numpy as np
import pytest

from baselines import NCTI, combine_ncti, ncti_score
from baselines.ncti import minmax, pooled
from benchmark.metric.protocol import PoolMetric
from benchmark.metric.score import Score


def elements(seli, ncc, vc):
    return Score(ncc + seli - vc, parts={"seli": seli, "ncc": ncc, "vc": vc})


def test_certain_posteriors_by_hand():
    """Far classes: each posterior row is one-hot, n_c equal rows of norm 1 have nuclear norm sqrt(n_c)."""
    labels = np.repeat([0, 1], [25, 16])
    rows = np.random.default_rng(0).normal(size=(41, 3)) + 1000 * labels[:, None]
    metric = NCTI()
    metric.update(rows, labels)
    parts = metric.compute().parts
    assert parts["ncc"] == pytest.approx(1)
    assert parts["vc"] == pytest.approx(math.log(5 + 4))


def test_a_pool_is_normalised_element_by_element():
    """Elements (0, 1/2, 1) each: minmax(ncc) + minmax(seli) - minmax(vc)."""
    pool = {"a": elements(1, 0.2, 5), "b": elements(2, 0.4, 5.5), "c": elements(3, 0.6, 6)}
    assert {name: score.value for name, score in combine_ncti(pool).items()} == pytest.approx(
        {"a": 0, "b": 0.5, "c": 1}
    )


def test_a_source_without_elements_keeps_its_reason():
    pool = {"a": elements(1, 0.2, 5), "b": Score(math.nan, reason="no samples"), "c": elements(3, 0.6, 5)}
    scores = combine_ncti(pool)
    assert scores["b"] is pool["b"]
    assert [scores["a"].value, scores["c"].value] == [0, 2]


def test_an_empty_pool_stays_empty():
    assert combine_ncti({}) == {}


def test_the_metric_combines(samples):
    metric = NCTI()
    assert isinstance(metric, PoolMetric)
    metric.update(*samples)
    score = metric.compute()
    assert score.value == ncti_score(*samples)
    assert metric.combine({"only": score})["only"].value == 0


def test_a_wrong_option_is_named(samples):
    with pytest.raises(ValueError, match="`pca` must be at least 1 component, got 0"):
        ncti_score(*samples, pca=0)


@pytest.mark.parametrize(("values", "expected"), [([2.0, 4.0, 3.0], [0, 1, 0.5]), ([7.0, 7.0], [0, 0]), ([5.0], [0])])
def test_minmax(values, expected):
    assert minmax(np.array(values)).tolist() == expected


def test_only_sources_with_a_score_take_part():
    pool = {
        "a": Score(1.0, parts={"x": 2.0}),
        "b": Score(math.nan, reason="no samples"),
        "c": Score(1.0, parts={"x": 6.0}),
    }
    scores = pooled(pool, lambda of: of("x") / of("x").sum())
    assert [scores["a"].value, scores["c"].value] == [0.25, 0.75]
    assert scores["b"].reason == "no samples"
    assert list(scores) == ["a", "b", "c"]
