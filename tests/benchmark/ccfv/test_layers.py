"""Consistency and variety of one layer: closed forms, what is counted, and what is undefined."""

import math

import pytest
import torch

from benchmark.ccfv import (
    LayerSamples,
    class_consistency,
    feature_variety,
    layer_distances,
)
from benchmark.ccfv.distances import pairwise_kl
from benchmark.ccfv.layers import pair_mean
from benchmark.ccfv.wasserstein import gaussian_wasserstein2
from benchmark.core.wasserstein import factor_samples

SCENES = torch.zeros(2, 1)


def line(*centres):
    """One class, whose two points lie 1 on either side of a centre."""
    cases = [{1: torch.tensor([[centre - 1.0], [centre + 1.0]])} for centre in centres]
    return LayerSamples(cases, [SCENES] * len(cases))


def test_distances_are_those_of_each_pair(make_layer):
    layer = make_layer()
    matrices = layer_distances(layer)
    assert list(matrices) == [1, 2]
    for label, matrix in matrices.items():
        for i, a in enumerate(layer.classes):
            for j, b in enumerate(layer.classes[:i]):
                assert float(matrix[i, j]) == pytest.approx(gaussian_wasserstein2(a[label], b[label]), rel=1e-12)


def test_consistency_is_the_mean_over_pairs_summed_over_classes(make_layer):
    layer = make_layer(m=4, k=3)
    rows, columns = torch.triu_indices(4, 4, offset=1)
    expected = sum(float(matrix[rows, columns].mean()) for matrix in layer_distances(layer).values())
    consistency = class_consistency(layer)
    assert consistency.value == pytest.approx(expected, rel=1e-12)
    assert consistency.pairs == {1: 6, 2: 6, 3: 6}
    assert consistency.reason == ""


def test_consistency_by_kl_is_the_mean_over_ordered_pairs(make_layer):
    layer = make_layer(m=4, k=3)
    off_diagonal = ~torch.eye(4, dtype=torch.bool)
    expected = 0.0
    for label in (1, 2, 3):
        directed = pairwise_kl([factor_samples(case[label]) for case in layer.classes], shrinkage=0.1)
        assert not torch.allclose(directed, directed.T)
        expected += float(directed[off_diagonal].mean())
    assert class_consistency(layer, distance="kl", shrinkage=0.1).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("distance", ["kl", "bhattacharyya"])
@pytest.mark.parametrize("missing", ["undefined", "skip"])
def test_a_divergence_from_features_that_do_not_vary_is_undefined(make_layer, distance, missing):
    layer = make_layer()
    layer.classes[2][2][:] = 5.0
    consistency = class_consistency(layer, distance=distance, missing=missing)
    assert math.isnan(consistency.value)
    assert consistency.reason == f"features of class 2 do not vary in a case: {distance} is undefined"
    assert math.isfinite(class_consistency(layer).value)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("distance", ["kl", "bhattacharyya"])
def test_divergences_of_equal_and_of_other_cases_do_not_depend_on_the_scale(make_layer, distance, scale):
    layer = make_layer(scale=scale)
    assert class_consistency(layer, distance=distance).value == pytest.approx(
        class_consistency(make_layer(), distance=distance).value, rel=1e-9
    )
    same = class_consistency(LayerSamples([layer.classes[0]] * 3, layer.scenes[:3]), distance=distance)
    assert "consistency is 0" in same.reason


def test_equal_spreads_are_as_far_as_their_means():
    # W2 of the pairs (0, 1), (0, 3), (1, 3) is 1, 3 and 2.
    assert class_consistency(line(0, 1, 3)).value == pytest.approx(2.0)


def test_only_counted_pairs_divide():
    layer = line(0, 1, 3)
    cases = [*layer.classes, {1: torch.zeros(1, 1)}, {}, {1: torch.zeros(0, 1)}]
    consistency = class_consistency(LayerSamples(cases, [SCENES] * 6))
    assert consistency.value == pytest.approx(2.0)
    assert consistency.pairs == {1: 3}
    assert consistency.reason == "class 1: 3 of 15 pairs counted"


def test_a_class_without_a_pair_is_undefined_or_left_out():
    layer = line(0, 1, 3)
    layer = LayerSamples([layer.classes[0] | {2: torch.zeros(5, 1)}, *layer.classes[1:]], layer.scenes)
    undefined = class_consistency(layer)
    assert math.isnan(undefined.value)
    assert undefined.reason == "class [2]: no two cases with at least 2 points each"
    skipped = class_consistency(layer, missing="skip")
    assert skipped.value == pytest.approx(2.0)
    assert skipped.reason == "class [2] left out"


@pytest.mark.parametrize(
    ("cases", "text"),
    [
        ([], "no two cases"),
        ([{1: torch.zeros(4, 2)}], "no two cases"),
        ([{0: torch.zeros(4, 2)}, {0: torch.zeros(4, 2)}], "class none: no two cases"),
        ([{1: torch.zeros(4, 2)}, {1: torch.zeros(4, 2)}], "consistency is 0"),
        ([{1: torch.ones(4, 2) * 1000}, {1: torch.ones(3, 2) * 1000 + 6e-5}], "consistency is 0"),
        ([{1: torch.full((4, 2), math.nan)}, {1: torch.zeros(4, 2)}], "features of class 1 hold NaN or inf"),
    ],
)
@pytest.mark.parametrize("missing", ["undefined", "skip"])
def test_nothing_to_compare_is_undefined(cases, text, missing):
    consistency = class_consistency(LayerSamples(cases, [SCENES] * len(cases)), missing=missing)
    assert math.isnan(consistency.value)
    assert text in consistency.reason


def test_variety_is_the_mean_inverse_energy():
    # Two points 2 apart: energy 1/2. Points of a case 1 apart: energy 1.
    scenes = [torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [6.0]])]
    assert feature_variety(scenes, space="raw") == pytest.approx((2 + 1) / 2)
    assert feature_variety(scenes, space="raw", energy="sum") == pytest.approx((1 + 1 / 2) / 2)
    assert feature_variety(scenes, space="raw", s=2) == pytest.approx((4 + 1) / 2)


def test_on_the_sphere_length_does_not_matter():
    points = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.1, 100, 20)[:, None]
    assert feature_variety([points * lengths]) == pytest.approx(feature_variety([points]), rel=1e-6)
    assert feature_variety([points]) <= 2  # no two points of the unit sphere are further apart


def test_variety_grows_as_features_spread():
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(50, 5, generator=draw)
    narrow = points * 0.1 + torch.tensor([10.0, 0, 0, 0, 0])
    assert feature_variety([points]) > feature_variety([narrow])


def test_coincident_features_stand_at_the_floor():
    assert feature_variety([torch.zeros(10, 3)]) == pytest.approx(1e-3)
    assert feature_variety([torch.ones(10, 3)], floor=0.5) == pytest.approx(0.5)


def test_cases_with_too_few_voxels_are_passed_over():
    points = torch.tensor([[0.0], [2.0]])
    assert feature_variety([points, points[:1], points[:0]], space="raw") == pytest.approx(2.0)
    assert math.isnan(feature_variety([points[:1]]))
    assert math.isnan(feature_variety([]))
    assert math.isnan(feature_variety([points, torch.full((3, 1), math.inf)]))


def test_arguments_are_checked(make_layer):
    with pytest.raises(ValueError, match='`space` must be "unit" or "raw", got \'sphere\''):
        feature_variety([], space="sphere")
    with pytest.raises(ValueError, match='`missing` must be "undefined" or "skip", got \'nan\''):
        class_consistency(make_layer(), missing="nan")


def test_the_mean_over_pairs_leaves_out_what_does_not_count():
    nan = math.nan
    pairs = torch.tensor([[0.0, 1.0, nan], [1.0, 0.0, 2.0], [nan, 2.0, 0.0]]).double()
    means = pair_mean(pairs, torch.tensor([[1, 1, 1], [2, 1, 3]]).double())
    assert means.tolist() == pytest.approx([1.5, (2 * 1 + 3 * 2) / 5])
