"""H-score: bounds, and what happens to null directions."""

import numpy as np
import pytest

from baselines import h_score


def direct(features, labels):
    conditional = np.stack([features[labels == label].mean(axis=0) for label in labels])
    return np.trace(np.linalg.pinv(np.cov(features.T)) @ np.cov(conditional.T))


def test_the_definition(samples):
    assert h_score(*samples) == pytest.approx(direct(*samples))


def test_classes_without_variance_explain_everything():
    """X = E[X | y], so the trace counts the rank of the class means: k - 1."""
    assert h_score(np.eye(4)[np.repeat([0, 1, 2, 3], 5)], np.repeat([0, 1, 2, 3], 5)) == pytest.approx(3)


def test_equal_means_explain_nothing():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert h_score(np.vstack([rows, rows]), np.repeat([0, 1], 20)) == pytest.approx(0)


def test_fewer_samples_than_dimensions_saturate():
    """cov X has rank n - 1 and every class mean lies in its range: the projection on k - 1 dimensions has trace k -
    1."""
    rows = np.random.default_rng(0).normal(size=(12, 30))
    assert h_score(rows, np.repeat([0, 1, 2], 4)) == pytest.approx(2)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_a_copy_or_a_constant_adds_nothing(samples, unit):
    features, labels = samples
    wide = np.hstack([features, unit * features[:, :1], np.full((len(labels), 1), 1000.0)])
    assert h_score(wide, labels) == pytest.approx(h_score(features, labels), rel=1e-6)


def test_features_that_do_not_vary_are_undefined():
    with pytest.warns(UserWarning, match="the features do not vary"):
        assert np.isnan(h_score(np.full((9, 2), 1000.1), np.repeat([0, 1, 2], 3)))


def test_a_wrong_option_is_named(samples):
    with pytest.raises(ValueError, match=r"`rcond` must lie in \[0, 1\), got 1"):
        h_score(*samples, rcond=1)
