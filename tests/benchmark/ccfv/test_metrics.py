"""The two metrics outside the pipeline; the pipeline itself is tested with the stream."""

import pytest
import torch

from benchmark.ccfv import (
    CCFV,
    CCFVReleased,
    LayerSamples,
    ccfv_from_layers,
    ccfv_released_score,
    ccfv_resampled,
    ccfv_score,
)
from benchmark.errors import InputError
from benchmark.features.stream import reduce_stream
from benchmark.metric.protocol import Metric


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
    with pytest.raises(ValueError, match="`layers` must have 2 layers as before, got 1"):
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


def test_the_terms_alone_add_up_to_both(make_layer):
    """log(V / C) = log V - log C, and a mean over layers keeps that."""
    layers = [make_layer(seed=1), make_layer(seed=2, d=9)]
    scores = {terms: ccfv_score(layers, terms=terms) for terms in ("both", "consistency", "variety")}
    assert scores["both"] == pytest.approx(scores["consistency"] + scores["variety"])
    draws = torch.tensor([[1, 1, 1, 1], [2, 0, 1, 1]])
    resampled = {terms: ccfv_resampled(layers, draws, terms=terms) for terms in scores}
    assert torch.allclose(resampled["both"], resampled["consistency"] + resampled["variety"])
    assert {terms: float(values[0]) for terms, values in resampled.items()} == pytest.approx(scores)


def test_variety_alone_needs_no_class(make_layer):
    alone = make_layer(m=1)
    assert ccfv_from_layers([alone], terms="variety").reason == ""
    assert "no two cases" in ccfv_from_layers([alone], terms="consistency").reason
    with pytest.raises(ValueError, match='`terms` must be "both", "consistency" or "variety", got \'all\''):
        ccfv_score([alone], terms="all")


def test_chosen_layers_are_scored_alone(make_case, tmp_path):
    case = [make_case(seed=seed, shape=(16, 16, 16)) for seed in range(2)]
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 2, 2), torch.nn.ConvTranspose3d(3, 5, 2, 2),
                                  torch.nn.Conv3d(5, 3, 1))  # fmt: skip
    chosen = {places: CCFV(counts=[9, 9], scene_count=20, places=places) for places in (None, (0,), (1,))}
    requests = list(dict.fromkeys(one for metric in chosen.values() for one in metric.requires))
    statistics = reduce_stream(network, ["0", "1"], case, requests, patch_size=(16, 16, 16), classes=3,
                               folder=tmp_path)  # fmt: skip
    scores = {places: metric.compute(statistics).value for places, metric in chosen.items()}
    assert scores[None] == pytest.approx((scores[0,] + scores[1,]) / 2)
    assert scores[0,] != scores[1,]
    with pytest.raises(InputError, match=r"places must be indices of counts, 0 to 1, got \(2,\)"):
        CCFV(counts=[9, 9], places=(2,))
