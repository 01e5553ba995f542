"""The bases of metrics that hold samples outside the pipeline."""

import math

import numpy as np
import pytest

from benchmark.metric.protocol import Metric
from benchmark.metric.score import Score
from benchmark.metric.standalone import JointMetric, MomentMetric
from benchmark.statistics import ClassMomentsRequest, JointRequest, Statistics


class Count(MomentMetric):
    """Counts samples."""

    name = "count"

    def _score(self, moments):
        return Score(float(moments.n), parts={"k": moments.k})


class Mass(JointMetric):
    """Sums probabilities."""

    name = "mass"

    def _score(self, histogram):
        return Score(float(histogram.soft.sum()))


def draw(n, k=2):
    random = np.random.default_rng(n)
    return random.dirichlet(np.ones(3), size=n), np.arange(n) % k


@pytest.mark.parametrize("metric", [Count, Mass])
def test_samples_are_held_merged_and_forgotten(metric):
    one, two = metric(), metric()
    assert one.compute().reason == "no samples"
    one.update(*draw(5))
    one.update(*draw(6))
    two.update(*draw(7))
    assert one.merge(two).compute().value == pytest.approx(18)
    assert two.merge(metric()).compute().value == pytest.approx(7)
    one.reset()
    assert math.isnan(one.compute().value)


@pytest.mark.parametrize(
    ("metric", "request_"), [(Count(layer=-2), ClassMomentsRequest(layer=-2)), (Mass(), JointRequest())]
)
def test_statistics_are_read_by_request(metric, request_):
    assert isinstance(metric, Metric)
    assert metric.requires == (request_,)
    filled = type(metric)()
    filled.update(*draw(9))
    statistics = Statistics({request_: filled._samples}, k=2, z=3, taps=("x",), cases=("a",))
    assert metric.compute(statistics).value == pytest.approx(9)


def test_later_updates_may_bring_new_classes():
    metric = Count()
    metric.update(*draw(4, k=2))
    metric.update(*draw(6, k=4))
    metric.update(*draw(4, k=2))
    assert metric.compute() == Score(14.0, parts={"k": 4})
