"""Estimates of sampled points: a pass and plain samples give one score."""

import numpy as np
import pytest
import torch

from baselines import KNN, OTCE, PED, SFDA
from baselines.inputs.points import PointMetric
from benchmark.metric.protocol import Metric
from benchmark.statistics import BalancedPointsRequest, PointSample, Statistics
from tests.baselines import properties

POINT_METRICS = {name: make for name, make in properties.find().items() if isinstance(make(), PointMetric)}


def statistics(points):
    return Statistics({BalancedPointsRequest(): points}, k=3, z=4, taps=("up",), cases=("a",))


@pytest.mark.parametrize("name", [name for name in POINT_METRICS if name != "lbtc"])
def test_a_pass_and_plain_samples_give_one_score(name):
    metric, given = POINT_METRICS[name](), properties.draw(properties.reads(POINT_METRICS[name]()), 4)
    rows = given.rows.astype(np.float32)
    logits = {"logits": torch.from_numpy(rows)} if properties.reads(metric) == "logits" else {}
    points = PointSample.from_samples(rows, given.labels, **logits)
    metric.update(points.logits if logits else points.features, points.labels)
    assert metric.compute(statistics(points)) == metric.compute()


@pytest.mark.parametrize("name", POINT_METRICS)
def test_a_pass_without_points_is_undefined(name):
    assert POINT_METRICS[name]().compute(statistics(PointSample(k=3, quota=5))).reason == "no samples"


def test_metrics_of_one_sample_share_it():
    assert SFDA().requires == KNN(k=1).requires
    assert SFDA().requires != KNN(count=500).requires


def test_updates_must_fit(samples):
    metric = SFDA()
    metric.update(*samples)
    with pytest.raises(ValueError, match="`features` must have 4 columns, got 2"):
        metric.update(samples[0][:, :2], samples[1])


@pytest.mark.parametrize("metric", [OTCE(), PED()])
def test_two_passes_without_points_are_undefined(metric):
    nothing = statistics(PointSample(k=3, quota=5))
    assert isinstance(metric, Metric)
    assert metric.needs == ("source",)
    assert metric.compute(nothing, source=nothing).reason == "no samples"
    assert metric.compute(nothing).reason == "needs a pass over the source's own data"


def test_metrics_of_two_passes_share_the_sample_of_the_other_point_metrics():
    assert OTCE().requires == PED().requires == (BalancedPointsRequest(),)
