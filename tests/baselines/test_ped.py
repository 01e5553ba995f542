"""PED: forces worked by hand, and its two passes."""

import numpy as np
import pytest

from baselines import PED, logme_score, ped_score, sfda_score
from baselines.ped import repelled
from benchmark.statistics import BalancedPointsRequest, PointSample, Statistics


def statistics(features, labels):
    points = PointSample.from_samples(features, labels)
    return Statistics({BalancedPointsRequest(): points}, k=points.k, z=1, taps=("up",), cases=("a",))


def test_two_balls_on_a_line_by_hand():
    """Radii 1 at distance 2: F = max(2 (1 + 1) - D, 0), each moves 0.005 F, so D grows by 0.01 (4 - D) for 6 steps."""
    rows, places = np.array([[-1.0], [1.0], [1.0], [3.0]]), np.array([0, 0, 1, 1])
    distance = 4 - (4 - 2) * (1 - 0.01) ** 6
    moved = repelled(rows, places)
    assert moved[2:].mean() - moved[:2].mean() == pytest.approx(distance)
    assert moved.mean() == pytest.approx(rows.mean())


def test_far_balls_stay():
    rows = np.array([[-1.0], [1.0], [99.0], [101.0]])
    assert (repelled(rows, np.array([0, 0, 1, 1])) == rows).all()


def test_balls_with_one_mean_have_no_direction():
    rows = np.array([[-1.0], [1.0], [-1.0], [1.0]])
    assert (repelled(rows, np.array([0, 0, 1, 1])) == rows).all()


def test_classes_too_far_to_repel_score_as_the_base(samples):
    features, labels = samples
    far = features + 1000 * np.eye(3, 4)[labels]
    assert ped_score(far, labels, features) == pytest.approx(sfda_score(far, labels))
    released = {"form": "fixed_point", "tol": 1e-3, "max_iter": 11, "eps": 1e-5}
    assert ped_score(far, labels, features, base="logme") == pytest.approx(logme_score(far, labels, **released))


def test_the_metric_needs_a_pass_over_the_source(samples):
    features, labels = (values.astype(kind) for values, kind in zip(samples, (np.float32, np.int64), strict=True))
    metric = PED()
    assert "needs a pass over the source's own data" in metric.compute(statistics(features, labels)).reason
    score = metric.compute(statistics(features, labels), source=statistics(3 * features, labels)).value
    assert score == pytest.approx(ped_score(features, labels, 3 * features))


@pytest.mark.parametrize("source", [np.zeros((0, 4)), np.full((9, 4), np.inf)])
def test_without_source_features_it_is_undefined(samples, source):
    with pytest.warns(UserWarning, match="the source features are empty or hold NaN or inf"):
        assert np.isnan(ped_score(*samples, source))


def test_wrong_arguments_are_named(samples):
    with pytest.raises(ValueError, match="`base` must be"):
        ped_score(*samples, samples[0], base="lda")
    with pytest.raises(ValueError, match="`source_features` must have 4 channels, got 2"):
        ped_score(*samples, samples[0][:, :2])
