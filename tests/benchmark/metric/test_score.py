"""Scores: a NaN has its reason, and warns with it."""

import math

import pytest

from benchmark.metric.score import Score, UndefinedScoreWarning, value_or_warn


def test_a_nan_needs_a_reason():
    with pytest.raises(ValueError, match="`reason` must say why `value` is NaN"):
        Score(math.nan)


def test_a_nan_warns_with_its_reason():
    with pytest.warns(UndefinedScoreWarning, match="too dark"):
        assert math.isnan(value_or_warn(Score(math.nan, reason="too dark")))
