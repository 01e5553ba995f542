"""CC-FV as released: its own arithmetic, written out."""

import math

import pytest
import torch

from benchmark.ccfv import (
    LayerSamples,
    ccfv_released_from_layers,
    ccfv_released_score,
    layer_distances,
    released_distance,
    released_variety,
)


def test_the_sum_compounds_from_class_to_class(make_layer):
    layer = make_layer(m=4, k=3)
    w = 0.0
    for matrix in layer_distances(layer).values():
        w += sum(float(matrix[i, j]) for i in range(4) for j in range(i))
        w += w * 2 / (4**2 * 3)
    assert released_distance(layer_distances(layer)) == pytest.approx(w, rel=1e-12)


def test_variety_is_an_energy_of_case_means():
    points = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    squares = [25.0, 1.0, 9.0 + 9.0]
    assert released_variety(points) == pytest.approx(sum((square + 1e-3) ** -0.5 for square in squares) / 3)
    assert math.isnan(released_variety(points[:1]))


def test_layers_are_summed(make_layer):
    one, two = make_layer(seed=1), make_layer(seed=2)
    together = ccfv_released_from_layers([one, two])
    assert together.value == pytest.approx(ccfv_released_score([one]) + ccfv_released_score([two]))
    assert together.parts["w_1"] == pytest.approx(released_distance(layer_distances(one)))


def test_the_order_of_classes_matters_as_released(make_layer):
    layer = make_layer(k=2)
    swapped = LayerSamples([{0: c[0], 1: c[2], 2: c[1]} for c in layer.classes], layer.scenes)
    assert ccfv_released_score([swapped]) != pytest.approx(ccfv_released_score([layer]), rel=1e-9)


def test_a_pair_without_a_class_is_not_counted_and_said(make_layer):
    layer = make_layer(m=4, k=2)
    cases = [
        {label: rows for label, rows in case.items() if (i, label) != (3, 2)} for i, case in enumerate(layer.classes)
    ]
    score = ccfv_released_from_layers([LayerSamples(cases, layer.scenes)])
    assert math.isfinite(score.value)
    assert score.reason == "layer 1: class 2: 3 of 6 pairs counted"
