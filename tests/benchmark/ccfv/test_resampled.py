"""CC-FV of resamples: all cases once is the score, a case left out is the score of the rest, copies meet no copies."""

import itertools
import math

import numpy as np
import pytest
import torch

from benchmark.ccfv import (
    LayerSamples,
    ccfv_released_resampled,
    ccfv_released_score,
    ccfv_resampled,
    ccfv_score,
    feature_variety,
    layer_distances,
)
from benchmark.ccfv.layers import pair_mean

# Two sums in another order, in float64
ROUNDING = {"rel": 1e-10, "abs": 1e-12}


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


def test_a_case_left_out_is_the_score_of_the_rest(layers):
    counts = 1 - torch.eye(5, dtype=torch.int64)
    found = ccfv_resampled(layers, counts)
    for left, value in enumerate(found):
        rest = [i for i in range(5) if i != left]
        assert float(value) == pytest.approx(ccfv_score(some(layers, rest)), **ROUNDING)


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
    found = ccfv_resampled(layers, torch.tensor([counts]))
    assert float(found) == pytest.approx(np.mean(logs), **ROUNDING)


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


def test_the_mean_over_pairs_leaves_out_what_does_not_count():
    nan = math.nan
    pairs = torch.tensor([[0.0, 1.0, nan], [1.0, 0.0, 2.0], [nan, 2.0, 0.0]]).double()
    found = pair_mean(pairs, torch.tensor([[1, 1, 1], [2, 1, 3]]).double())
    assert found.tolist() == pytest.approx([1.5, (2 * 1 + 3 * 2) / 5])
