"""TLC: trees worked by hand, and the stages of a pass."""

import numpy as np
import pytest

from baselines import TLC, tlc_score
from benchmark.metric.score import UndefinedScoreWarning
from benchmark.statistics import StagePointsRequest, StageSample, Statistics

LABELS = np.array([0, 0, 0, 1])
# Line 0, 1, 2, 3: class 0 touches three edges, of which one crosses; class 1 the crossing one: 1 - (1/3 + 1) / 2
FINE, FINE_VALUE = np.array([[0.0], [1.0], [2.0], [3.0]]), 1 / 3
# Class 1 lies between its neighbours: two of the three edges of class 0 cross, and both of class 1: 1 - (2/3 + 1) / 2
COARSE, COARSE_VALUE = np.array([[0.0, 0], [1, 0], [3, 0], [2, 0]]), 1 / 6


def of_pass(**stages):
    points = StageSample.from_stages(LABELS, encoder=stages, decoder={}, boundary=np.zeros(4, bool))
    return Statistics({StagePointsRequest(): points}, k=2, z=1, taps=("up",), cases=("a",))


def test_two_stages_by_hand():
    assert tlc_score([FINE], LABELS) == pytest.approx(FINE_VALUE)
    assert tlc_score([FINE, COARSE], LABELS) == pytest.approx((FINE_VALUE + COARSE_VALUE) / 2)


def test_a_pass_gives_the_stages_from_fine_to_coarse():
    score = TLC().compute(of_pass(fine=FINE, coarse=COARSE))
    assert score.value == pytest.approx((FINE_VALUE + COARSE_VALUE) / 2)
    assert score.parts == pytest.approx({"stage_1": FINE_VALUE, "stage_2": COARSE_VALUE})


def test_what_is_undefined_names_the_stage():
    broken = COARSE * np.array([1, np.nan])
    score = TLC().compute(of_pass(fine=FINE, coarse=broken))
    assert np.isnan(score.value)
    assert score.reason == "encoder stage coarse: 1 of 2 channels hold NaN or inf"
    score = TLC().compute(of_pass(fine=0 * FINE, coarse=COARSE))
    assert score.reason == "encoder stage fine: all samples coincide"
    empty = StageSample(k=2, quota=4, absent="it is flat")
    statistics = Statistics({StagePointsRequest(): empty}, k=2, z=1, taps=("up",), cases=("a",))
    assert TLC().compute(statistics).reason == "no samples"
    flat = StageSample.from_stages(LABELS, encoder={}, decoder={"up": FINE}, boundary=LABELS > 0)
    flat.absent = "it is flat"
    statistics = Statistics({StagePointsRequest(): flat}, k=2, z=1, taps=("up",), cases=("a",))
    assert TLC().compute(statistics).reason == "the network has no encoder stages: it is flat"


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="`encoder` must have at least one stage, got 0"):
        tlc_score([], LABELS)
    with pytest.raises(ValueError, match="4"):
        tlc_score([FINE, COARSE[:3]], LABELS)
    with pytest.raises(ValueError, match="`class_count` must be at least 2 points, got 1"):
        TLC(class_count=1)
    with pytest.warns(UndefinedScoreWarning, match="only class 0 has samples"):
        assert np.isnan(tlc_score([FINE], 0 * LABELS))
