"""TopoTE: its weights, the fusion over a pool by hand, and its parts against GRTD and LBTC."""

import math

import numpy as np
import pytest

from baselines import LBTC, TopoTE, combine_topote, grtd_score, topote_score
from baselines.topote import decoder_weights, encoder_weights
from benchmark.metric.protocol import PoolMetric
from benchmark.metric.score import Score
from benchmark.statistics import StagePointsRequest, StageSample, Statistics
from tests.baselines.golden_adapters import labelled
from tests.baselines.golden_entries import read_entries


def parts(grtd, lbtc, foreground):
    return Score(0.0, parts={"grtd": grtd, "lbtc": lbtc, "foreground": foreground})


@pytest.fixture
def stages(samples):
    """Three decoder and four encoder stages of 60 samples, of different widths, and which lie on a boundary."""
    features, labels = samples
    generator = np.random.default_rng(2)
    rows = [features @ generator.normal(size=(4, width)) + generator.normal(size=(60, width)) for width in range(2, 9)]
    return rows[:3], rows[3:], labels, np.arange(60) % 3 == 0


def of_pass(decoder, encoder, labels, boundary):
    points = StageSample.from_stages(
        labels,
        decoder={f"up{number}": rows for number, rows in enumerate(decoder)},
        encoder={f"down{number}": rows for number, rows in enumerate(encoder)},
        boundary=boundary,
    )
    return Statistics({StagePointsRequest(): points}, k=3, z=1, taps=("up",), cases=("a",))


def test_the_weights_are_the_published_ones():
    assert decoder_weights(5).round(3).tolist() == [0.022, 0.229, 0.499, 0.229, 0.022]
    assert encoder_weights(6).round(3).tolist() == [0.002, 0.038, 0.240, 0.444, 0.240, 0.038]
    assert decoder_weights(1).tolist() == encoder_weights(1).tolist() == [1.0]


@pytest.mark.parametrize(("foreground", "alpha"), [(1, 0), (2, 1 / 3), (3, 1 / 2)])
def test_alpha_by_hand(foreground, alpha):
    """The first source has all of GRTD, the second all of LBTC, the third half of each."""
    assert alpha == pytest.approx(math.tanh(math.log(foreground) / 2))
    pool = {"a": parts(-0.2, 0.5, foreground), "b": parts(-0.6, 0.9, foreground), "c": parts(-0.4, 0.7, foreground)}
    fused = {name: score.value for name, score in combine_topote(pool).items()}
    assert fused == pytest.approx({"a": alpha, "b": 1 - alpha, "c": 0.5})


def test_a_range_below_1e_9_is_not_divided_by():
    pool = {"a": parts(-0.5, 0.5, 3), "b": parts(-0.5 + 5e-10, 0.5, 3), "c": Score(math.nan, "no samples")}
    fused = combine_topote(pool)
    assert fused["a"].value == 0
    assert fused["b"].value == pytest.approx(2.5e-10, rel=1e-6)
    assert fused["c"] is pool["c"]


def test_stages_are_weighted(stages):
    decoder, encoder, labels, boundary = stages
    score = TopoTE().compute(of_pass(*stages))
    side = math.exp(-1 / (2 * 0.8**2))
    grtd = [grtd_score(rows.astype(np.float32), labels) for rows in decoder]
    assert score.parts["grtd"] == pytest.approx((side * grtd[0] + grtd[1] + side * grtd[2]) / (1 + 2 * side), abs=1e-6)
    weights = [math.exp(-((number - 1.8) ** 2) / (2 * 0.9**2)) for number in range(4)]
    lbtc = [LBTC()._of_points(rows, labels, boundary).value for rows in encoder]
    assert score.parts["lbtc"] == pytest.approx(np.average(lbtc, weights=weights), abs=1e-6)
    assert score.value == pytest.approx(score.parts["grtd"] / 3 + 2 * score.parts["lbtc"] / 3)
    assert topote_score(*stages) == pytest.approx(score.value, abs=1e-6)
    assert score.reason == (
        "weights of 3 decoder stages in GRTD: 0.239, 0.522, 0.239, "
        "of 4 encoder stages in LBTC: 0.062, 0.307, 0.444, 0.187"
    )


def test_published_numbers_of_stages_need_no_note(stages):
    decoder, encoder, labels, boundary = stages
    assert TopoTE().compute(of_pass((decoder * 2)[:5], (encoder * 2)[:6], labels, boundary)).reason == ""


def test_what_is_undefined_names_the_stage(stages):
    decoder, encoder, labels, boundary = stages
    collapsed = [decoder[0], 0 * decoder[1], decoder[2]]
    assert TopoTE().compute(of_pass(collapsed, encoder, labels, boundary)).reason == (
        "decoder stage up1: all samples coincide"
    )
    assert TopoTE().compute(of_pass(decoder, encoder, labels, 0 * labels)).reason == (
        "encoder stage down0: no boundary voxels"
    )
    assert TopoTE().compute(of_pass([], encoder, labels, boundary)).reason.startswith("the network has no decoder")


def test_its_parts_are_those_of_the_golden_trees(golden):
    entries = [entry for entry in read_entries(golden) if entry.method == "grtd_full_mst_formula"]
    assert entries
    for entry in entries:
        features, labels = labelled(entry.inputs)
        metric = TopoTE()
        metric.update(features, labels)
        score = metric.compute()
        assert score.parts["grtd"] == pytest.approx(float(entry.value), rel=entry.rtol)
        alone = LBTC()
        alone.update(features, labels)
        assert score.parts["lbtc"] == alone.compute().value


def test_the_metric_combines_and_names_wrong_arguments(stages):
    assert isinstance(TopoTE(), PoolMetric)
    assert TopoTE().combine({"only": TopoTE().compute(of_pass(*stages))})["only"].value == 0
    with pytest.raises(ValueError, match=r"`boundary` must be bool of shape \(60,\), got int64 \(60,\)"):
        topote_score(*stages[:3], np.zeros(60, np.int64))
    with pytest.raises(ValueError, match="`patch` must be at least 2 samples, got 1"):
        TopoTE(patch=1)
