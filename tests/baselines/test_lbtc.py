"""LBTC: a case worked by hand, patches that do not count, and boundary voxels of a point sample."""

import numpy as np
import pytest
import torch

from baselines import LBTC, lbtc_score
from benchmark.statistics import BalancedPointsRequest, PointSample, Statistics


def test_a_line_by_hand():
    """The anchor 3 of class 0 with its 2 nearest, 2 (class 0) and 4.5 (class 1): 1 of 2 edges crosses."""
    line, labels = np.array([[0.0], [2.0], [4.5], [9.0]]), np.array([0, 0, 1, 1])
    assert lbtc_score(line, labels, np.array([[3.0]]), np.array([0]), patch=3) == pytest.approx(0.5)


def test_patches_of_one_label_are_skipped():
    """A second anchor among its own class alone changes nothing."""
    line, labels = np.array([[0.0], [2.0], [4.5], [99.0], [99.5]]), np.array([0, 0, 1, 1, 1])
    assert lbtc_score(line, labels, np.array([[3.0], [99.2]]), np.array([0, 1]), patch=3) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("edge", "reason"), [(np.zeros((0, 1)), "no boundary"), (np.array([[50.0]]), "none of 1 patches")]
)
def test_without_a_mixed_patch_it_is_undefined(edge, reason):
    rows, labels = np.array([[0.0], [1.0], [50.1], [50.2]]), np.array([0, 0, 1, 1])
    with pytest.warns(UserWarning, match=reason):
        assert np.isnan(lbtc_score(rows, labels, edge, np.ones(len(edge), int), patch=3))


def test_the_metric_reads_the_boundary_of_the_points(samples):
    features, labels = samples
    points = PointSample.from_samples(features, labels)
    statistics = Statistics({BalancedPointsRequest(): points}, k=3, z=1, taps=("up",), cases=("a",))
    assert LBTC().compute(statistics).reason == "no boundary voxels"
    points.table.boundary[:7] = True
    edge = points.boundary
    rest = points.features[~edge].double(), points.labels[~edge]
    expected = lbtc_score(*rest, points.features[edge].double(), points.labels[edge])
    assert LBTC().compute(statistics).value == pytest.approx(expected)
    assert torch.equal(edge[:7], torch.ones(7, dtype=torch.bool))


def test_wrong_arguments_are_named(samples):
    features, labels = samples
    with pytest.raises(ValueError, match="`boundary_features` must have 4 channels, got 2"):
        lbtc_score(features, labels, features[:, :2], labels)
    with pytest.raises(ValueError, match="`patch` must be at least 2 samples, got 1"):
        lbtc_score(features, labels, features, labels, patch=1)
