"""The two metrics outside the pipeline; the pipeline itself is tested with the stream."""

import pytest

from benchmark.ccfv import CCFV, CCFVReleased, LayerSamples, ccfv_released_score, ccfv_score
from benchmark.metric import Metric


def part(layer, cases):
    return LayerSamples(layer.classes[cases], layer.scenes[cases])


@pytest.mark.parametrize(("metric", "score"), [(CCFV, ccfv_score), (CCFVReleased, ccfv_released_score)])
def test_updated_case_by_case_and_merged_it_is_the_score_of_all(make_layer, metric, score):
    layers = [make_layer(seed=1), make_layer(seed=2, d=9)]
    one, two = metric(), metric()
    one.update([part(layer, slice(0, 1)) for layer in layers])
    one.update([part(layer, slice(1, 2)) for layer in layers])
    two.update([part(layer, slice(2, 4)) for layer in layers])
    assert one.merge(two).compute().value == pytest.approx(score(layers))
    assert one.merge(metric()).compute().value == pytest.approx(score(layers))
    one.reset()
    assert one.compute().reason == "no cases"
    with pytest.raises(ValueError, match="`layers` must be 2 as before, got 1"):
        two.update(layers[:1])


@pytest.mark.parametrize("metric", [CCFV(), CCFVReleased(counts=[1, 2])])
def test_they_follow_the_protocol(metric):
    assert isinstance(metric, Metric)
    assert {hash(request) for request in metric.requires}


def test_what_is_asked_for_follows_the_parameters():
    points, scenes = CCFV(counts=[5, 6], scene_count=7, seed=3).requires
    assert (points.counts, points.seed) == ((5, 6), 3)
    assert (scenes.count, scenes.layers, scenes.seed) == (7, 2, 3)
    assert CCFVReleased(counts=[5, 6], seed=3).requires == (points,)
