"""Normalising over a pool."""

import math

import numpy as np
import pytest

from baselines.inputs.pool import minmax, pooled
from benchmark.metric.score import Score


@pytest.mark.parametrize(("values", "expected"), [([2.0, 4.0, 3.0], [0, 1, 0.5]), ([7.0, 7.0], [0, 0]), ([5.0], [0])])
def test_minmax(values, expected):
    assert minmax(np.array(values)).tolist() == expected


def test_only_sources_with_a_score_take_part():
    pool = {
        "a": Score(1.0, parts={"x": 2.0}),
        "b": Score(math.nan, reason="no samples"),
        "c": Score(1.0, parts={"x": 6.0}),
    }
    found = pooled(pool, lambda of: of("x") / of("x").sum())
    assert [found["a"].value, found["c"].value] == [0.25, 0.75]
    assert found["b"].reason == "no samples"
    assert list(found) == ["a", "b", "c"]
