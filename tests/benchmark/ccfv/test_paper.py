"""CC-FV by the paper's formula: parts, invariances, degenerate input, and the authors' vectors."""

import json
import math
import re

import numpy as np
import pytest
import torch

from benchmark.ccfv import LayerSamples, ccfv_from_layers, ccfv_released_score, ccfv_score
from benchmark.metric.score import UndefinedScoreWarning

# The released distances take a matrix root, itself off by 3e-8 where n < d
GOLDEN = 1e-6


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
    found = {}
    for key in content.files:
        if match := re.fullmatch(r"feat__(\w+?)__case(\d+)__label(\d+)", key):
            layer, case, label = match[1], int(match[2]), int(match[3])
            found.setdefault(layer, {}).setdefault(case, {})[label] = torch.as_tensor(content[key])
    return [
        LayerSamples(
            [cases[i] for i in sorted(cases)],
            [torch.cat([cases[i][label] for label in sorted(cases[i])]) for i in sorted(cases)],
        )
        for cases in found.values()
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
