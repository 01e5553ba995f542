"""CC-FV by the paper's formula: parts, invariances, degenerate input, resamples, and the authors' vectors.

What the released variant shares is tested with both.
"""

import itertools
import json
import math
import re

import numpy as np
import pytest
import torch

from benchmark.ccfv import (
    CCFV,
    CCFVReleased,
    LayerSamples,
    ccfv_from_layers,
    ccfv_released_resampled,
    ccfv_released_score,
    ccfv_resampled,
    ccfv_score,
    feature_variety,
    layer_distances,
)
from benchmark.errors import InputError
from benchmark.features.stream import reduce_stream
from benchmark.metric.protocol import Metric
from benchmark.metric.score import UndefinedScoreWarning
from benchmark.statistics import CasePointsRequest

# The released distances take a matrix root, itself off by 3e-8 where n < d
GOLDEN = 1e-6
# Two sums in another order, in float64
ROUNDING = {"rel": 1e-10, "abs": 1e-12}


def apply(layer, function):
    cases = [{label: function(rows) for label, rows in case.items()} for case in layer.classes]
    return LayerSamples(cases, [function(rows) for rows in layer.scenes])


def test_the_score_is_made_of_its_parts(make_layer):
    score = ccfv_from_layers([make_layer(seed=1), make_layer(seed=2, d=9)])
    parts = score.parts
    logs = [math.log(parts[f"variety_{place}"] / parts[f"consistency_{place}"]) for place in (1, 2)]
    assert score.value == pytest.approx(sum(logs) / 2)
    assert parts["pairs_1"] == 12
    assert score.reason == ""


def test_closer_cases_score_higher(make_layer):
    near, far = make_layer(apart=0.1), make_layer(apart=2.0)
    assert ccfv_score([near], space="raw") > ccfv_score([far], space="raw")


@pytest.mark.parametrize("space", ["unit", "raw"])
def test_order_and_rotation_do_not_matter(make_layer, space):
    layer = make_layer()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    shuffled = apply(layer, lambda rows: rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))])
    renamed = LayerSamples([{0: c[0], 9: c[1], 3: c[2]} for c in layer.classes], layer.scenes)
    backwards = LayerSamples(layer.classes[::-1], layer.scenes[::-1])
    expected = ccfv_score([layer], space=space)
    for other in (shuffled, renamed, backwards, apply(layer, lambda rows: rows @ turn)):
        assert ccfv_score([other], space=space) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1e4])
def test_scale_moves_the_score_by_its_logarithm_on_the_sphere_and_not_at_all_off_it(make_layer, scale):
    # C is homogeneous of degree 1; so is V of raw features (with a floor that scales too), V on the sphere of degree 0.
    layer, scaled = make_layer(), make_layer(scale=scale)
    assert ccfv_score([scaled]) == pytest.approx(ccfv_score([layer]) - math.log(scale), abs=1e-9)
    raw = ccfv_score([scaled], space="raw", floor=1e-9)
    assert raw == pytest.approx(ccfv_score([layer], space="raw", floor=1e-9), abs=1e-9)


def test_an_offset_does_not_matter_to_raw_features(make_layer):
    shifted = ccfv_score([make_layer(offset=1000)], space="raw")
    assert shifted == pytest.approx(ccfv_score([make_layer()], space="raw"), rel=1e-8)


@pytest.mark.parametrize("degenerate", ["n < d", "constant column", "duplicated column", "float32", "relu"])
def test_degenerate_features_have_a_number(make_layer, degenerate):
    layer = make_layer(n=3, d=24) if degenerate == "n < d" else make_layer()
    change = {
        "constant column": lambda rows: rows * (torch.arange(6) > 1),
        "duplicated column": lambda rows: rows[:, [0, 0, 1, 1, 2, 3]],
        "float32": lambda rows: rows.float(),
        "relu": lambda rows: (rows - 2).relu(),
    }.get(degenerate, lambda rows: rows)
    assert math.isfinite(ccfv_score([apply(layer, change)]))


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("score", [ccfv_score, ccfv_released_score])
def test_bad_numbers_are_undefined(make_layer, poison, score):
    layer = make_layer()
    layer.classes[1][1][0, 2] = poison
    with pytest.warns(UndefinedScoreWarning, match="layer 1: features of class 1 hold NaN or inf"):
        assert math.isnan(score([layer]))


@pytest.mark.parametrize("score", [ccfv_score, ccfv_released_score])
def test_nothing_to_score_is_undefined(make_layer, score):
    with pytest.warns(UndefinedScoreWarning, match="no layers"):
        assert math.isnan(score([]))
    with pytest.warns(UndefinedScoreWarning, match="no two cases"):
        assert math.isnan(score([make_layer(m=1)]))
    with pytest.warns(UndefinedScoreWarning, match="consistency is 0"):
        assert math.isnan(score([apply(make_layer(), torch.zeros_like)]))
    with pytest.warns(UndefinedScoreWarning, match="layer 1: "):
        assert math.isnan(score([LayerSamples([], [])]))


def test_bad_voxels_of_the_scene_are_undefined(make_layer):
    layer = make_layer()
    scenes = [*layer.scenes[:3], torch.full((5, 6), math.nan)]
    with pytest.warns(UndefinedScoreWarning, match="variety"):
        assert math.isnan(ccfv_score([LayerSamples(layer.classes, scenes)]))


def golden_layers(content):
    """The layers of an archive, coarse to fine; a case's scene is all of its sampled voxels."""
    rows_by_layer = {}
    for key in content.files:
        if match := re.fullmatch(r"feat__(\w+?)__case(\d+)__label(\d+)", key):
            layer, case, label = match[1], int(match[2]), int(match[3])
            rows_by_layer.setdefault(layer, {}).setdefault(case, {})[label] = torch.as_tensor(content[key])
    return [
        LayerSamples(
            [cases[i] for i in sorted(cases)],
            [torch.cat([cases[i][label] for label in sorted(cases[i])]) for i in sorted(cases)],
        )
        for cases in rows_by_layer.values()
    ]


@pytest.mark.golden
def test_the_variants_equal_the_golden_vectors(golden):
    files = [
        entry["file"] for entry in json.loads((golden / "index.json").read_text())["files"] if entry["kind"] == "ccfv"
    ]
    assert files
    for file in files:
        content = np.load(golden / file)
        layers = golden_layers(content)
        for space in ("raw", "unit"):
            for energy in ("sum", "mean"):
                expected = float(content[f"out__ccfv_paperC_inverseEnergy_{space}_{energy}"])
                ours = ccfv_score(layers, space=space, energy=energy, floor=1e-12)
                assert ours == pytest.approx(expected, rel=GOLDEN), (file, space, energy)
        assert ccfv_released_score(layers) == pytest.approx(float(content["out__ccfv_as_shipped"]), rel=GOLDEN), file


@pytest.fixture(scope="module")
def layers():
    draw = torch.Generator().manual_seed(3)

    def rows(n, d, shift):
        return torch.randn(n, d, generator=draw) * (1 + 0.2 * shift) + shift

    return [
        LayerSamples([{1: rows(20, d, i), 2: rows(15, d, 2 * i)} for i in range(5)], [rows(30, d, i) for i in range(5)])
        for d in (4, 3)
    ]


def some(layers, cases):
    return [LayerSamples([layer.classes[i] for i in cases], [layer.scenes[i] for i in cases]) for layer in layers]


@pytest.mark.parametrize(
    ("resampled", "score"), [(ccfv_resampled, ccfv_score), (ccfv_released_resampled, ccfv_released_score)]
)
def test_every_case_once_is_the_score(layers, resampled, score):
    assert float(resampled(layers, torch.ones(1, 5, dtype=torch.int64))) == pytest.approx(score(layers), **ROUNDING)


@pytest.mark.parametrize("distance", ["w2", "kl", "bhattacharyya"])
def test_a_case_left_out_is_the_score_of_the_rest(layers, distance):
    counts = 1 - torch.eye(5, dtype=torch.int64)
    scores = ccfv_resampled(layers, counts, distance=distance)
    for left, value in enumerate(scores):
        rest = [i for i in range(5) if i != left]
        assert float(value) == pytest.approx(ccfv_score(some(layers, rest), distance=distance), **ROUNDING)


def test_resamples_without_the_case_whose_distance_is_undefined_have_a_score(layers):
    layer = layers[0]
    constant = LayerSamples([layer.classes[0] | {1: torch.ones(9, 4)}, *layer.classes[1:]], layer.scenes)
    broken = LayerSamples([layer.classes[0] | {1: torch.full((9, 4), math.nan)}, *layer.classes[1:]], layer.scenes)
    counts = torch.tensor([[1, 1, 1, 1, 1], [0, 2, 1, 1, 1]])
    for changed, distance in ((constant, "kl"), (constant, "bhattacharyya"), (broken, "w2")):
        scores = ccfv_resampled([changed], counts, distance=distance)
        assert scores.isnan().tolist() == [True, False]
        assert scores[1] == ccfv_resampled([layer], counts, distance=distance)[1]


def test_copies_of_a_case_are_no_pair(layers):
    counts = [2, 0, 1, 3, 1]
    drawn = [case for case, count in enumerate(counts) for _ in range(count)]
    logs = []
    for layer in layers:
        consistency = 0.0
        for distances in layer_distances(layer).values():
            pairs = [float(distances[a, b]) for a, b in itertools.combinations(drawn, 2) if a != b]
            consistency += sum(pairs) / len(pairs)
        logs.append(math.log(feature_variety([layer.scenes[case] for case in drawn]) / consistency))
    score = ccfv_resampled(layers, torch.tensor([counts]))
    assert float(score) == pytest.approx(np.mean(logs), **ROUNDING)


def test_one_case_alone_is_undefined(layers):
    counts = torch.tensor([[5, 0, 0, 0, 0]])
    assert ccfv_resampled(layers, counts).isnan().all()
    assert ccfv_released_resampled(layers, counts).isnan().all()


def test_a_class_that_a_resample_lacks_is_undefined_or_left_out(layers):
    layer = layers[0]
    lacking = LayerSamples([layer.classes[0], {1: layer.classes[1][1]}, *layer.classes[2:]], layer.scenes)
    counts = torch.tensor([[1, 4, 0, 0, 0]])
    assert ccfv_resampled([lacking], counts).isnan().all()
    one = LayerSamples([{1: case[1]} for case in lacking.classes], layer.scenes)
    assert float(ccfv_resampled([lacking], counts, missing="skip")) == pytest.approx(
        float(ccfv_resampled([one], counts))
    )


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
    points, scenes = CCFV(counts="proportional", seed=3).requires
    assert points == CasePointsRequest(counts=(100, 200, 400), seed=3, allocation="proportional")
    assert scenes.layers == 3


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"counts": "proportionate"},
            "counts must be a list of positive whole numbers, or proportional, got proportio",
        ),
        ({"counts": []}, r"counts must be a list .*, got \[\]"),
        ({"counts": [100, 0]}, r"counts must be a list .*, got \[100, 0\]"),
        ({"counts": 100}, "counts must be a list .*, got 100"),
        ({"counts": "proportional", "places": [3]}, r"places must be indices of counts, 0 to 2, got \[3\]"),
        ({"distance": "l2"}, '`distance` must be "w2", "kl" or "bhattacharyya", got \'l2\''),
        ({"distance": "kl", "shrinkage": 0}, "shrinkage must be a number from 0.0001 to 1, got 0"),
        ({"distance": "kl", "shrinkage": "none"}, "shrinkage must be a number from 0.0001 to 1, got 'none'"),
        ({"shrinkage": 0.1}, "shrinkage has no effect on distance=w2, got shrinkage=0.1; leave it out"),
    ],
)
def test_wrong_settings_are_named(settings, text):
    with pytest.raises(ValueError, match=text):
        CCFV(**settings)


def test_proportional_points_are_scored_and_resampled(make_case, tmp_path):
    metric = CCFV(counts="proportional", distance="kl")
    case = [make_case(seed=seed, shape=(16, 16, 16)) for seed in range(3)]
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 3, 2, 2), torch.nn.ConvTranspose3d(3, 5, 2, 2),
                                  torch.nn.Conv3d(5, 3, 1))  # fmt: skip
    requests = [*metric.requires, *CCFV().requires]
    statistics = reduce_stream(network, ["0", "1"], case, requests, patch_size=(16, 16, 16), classes=3,
                               folder=tmp_path)  # fmt: skip
    score = metric.compute(statistics)
    assert score.reason == "2 layers instead of 3"
    draws = metric.resampled(statistics, torch.tensor([[1, 1, 1], [2, 1, 0]]))
    assert float(draws[0]) == pytest.approx(score.value, **ROUNDING)
    assert math.isfinite(draws[1])
    points = statistics[metric.requires[0]]
    assert points.counts == (200, 400)  # the last budgets
    for at, labels in enumerate(one.labels for one in case):
        sizes = torch.bincount(labels.flatten().long(), minlength=3).tolist()
        budget = 400 * sum(size > 0 for size in sizes[1:])
        expected = [min(size, round(budget * size / sum(sizes[1:]))) for size in sizes[1:]]
        assert [len(points.classes(-1)[at][label]) for label in (1, 2)] == expected
    assert score.value != CCFV(distance="kl").compute(statistics).value


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
