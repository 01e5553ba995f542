"""OTCE: cases worked by hand, and its two passes."""

import numpy as np
import pytest

from baselines import OTCE, otce_elements, otce_score
from benchmark.statistics import BalancedPointsRequest, PointSample, Statistics


def statistics(features, labels):
    points = PointSample.from_samples(features, labels)
    return Statistics({BalancedPointsRequest(): points}, k=points.k, z=1, taps=("up",), cases=("a",))


def test_a_translation_costs_its_square(samples):
    """The best plan between a set and its translate by t moves each sample to its own image, at cost |t|^2."""
    features, labels = samples
    elements = otce_elements(features, labels, features + np.array([3.0, 0, 4, 0]), labels)
    assert elements.distance == pytest.approx(25)
    assert elements.conditional_entropy == 0


def test_labels_that_split_have_their_entropy():
    """The two samples of source class 0 go to two target classes, that of class 1 to one: 2/3 log 2."""
    elements = otce_elements(
        np.array([[0.0], [1.0], [9.0]]), np.array([0, 0, 1]), np.array([[0.0], [1.0], [9.0]]), np.array([0, 1, 1])
    )
    assert elements.conditional_entropy == pytest.approx(2 / 3 * np.log(2))


def test_the_weights_weigh(samples):
    features, labels = samples
    arguments = features, labels, 2 * features, labels
    elements = otce_elements(*arguments)
    expected = -0.1 * elements.distance - 3 * elements.conditional_entropy
    assert otce_score(*arguments, weight_distance=0.1, weight_entropy=3) == pytest.approx(expected)


def test_the_metric_needs_a_pass_over_the_source(samples):
    features, labels = samples
    metric = OTCE()
    assert "needs a pass over the source's own data" in metric.compute(statistics(features, labels)).reason
    score = metric.compute(statistics(features + 1, labels), source=statistics(features, labels))
    assert score.parts["distance"] == pytest.approx(4)


@pytest.mark.parametrize(
    ("rows", "reason"), [(np.full((60, 4), np.nan), "NaN or inf"), (np.zeros((0, 4)), "no samples")]
)
def test_what_cannot_be_transported_is_undefined(samples, rows, reason):
    with pytest.warns(UserWarning, match=reason):
        assert np.isnan(otce_score(rows, np.zeros(len(rows), int), *samples))


def test_wrong_arguments_are_named(samples):
    features, labels = samples
    with pytest.raises(ValueError, match="`target_features` must have the source's 2 channels, got 4"):
        otce_score(features[:, :2], labels, features, labels)
    with pytest.raises(ValueError, match="`source_labels` must be integers"):
        otce_score(features, labels[:3], features, labels)
