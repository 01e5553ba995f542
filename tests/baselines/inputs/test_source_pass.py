"""Estimates of two passes: what they need is said, and they ask for one sample of points."""

import pytest

from baselines import OTCE, PED
from benchmark.metric.protocol import Metric
from benchmark.statistics import BalancedPointsRequest, PointSample, Statistics


@pytest.mark.parametrize("metric", [OTCE(), PED()])
def test_a_pass_without_points_is_undefined(metric):
    bag = Statistics({BalancedPointsRequest(): PointSample(k=3, quota=5)}, k=3, z=1, taps=("up",), cases=("a",))
    assert isinstance(metric, Metric)
    assert metric.needs == ("source",)
    assert metric.compute(bag, source=bag).reason == "no samples"
    assert metric.compute(bag).reason == "needs a pass over the source's own data"


def test_they_share_the_sample_of_the_other_point_metrics():
    assert OTCE().requires == PED().requires == (BalancedPointsRequest(),)
