"""TransRate: the definition, and its bound for one class after another."""

import numpy as np
import pytest

from baselines import transrate_score


def rate(rows, eps):
    return np.linalg.slogdet(np.eye(rows.shape[1]) + rows.T @ rows / (len(rows) * eps))[1] / 2


@pytest.mark.parametrize("eps", [1e-4, 0.1])
def test_the_definition(samples, eps):
    features, labels = samples
    centred = features - features.mean(axis=0)
    within = np.mean([rate(centred[labels == label], eps) for label in np.unique(labels)])
    assert transrate_score(features, labels, eps=eps) == pytest.approx(rate(centred, eps) - within)


def test_classes_alike_have_none():
    """Equal samples in each class have the second moment of the whole, so each rate is that of the whole."""
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert transrate_score(np.vstack([rows, rows]), np.repeat([0, 1], 20)) == pytest.approx(0, abs=1e-12)


def test_equal_classes_are_never_worse_than_none(samples):
    """log det is concave and the classes' second moments average to the whole's, so with equal priors the score is >=
    0."""
    features, labels = samples
    assert transrate_score(features, labels, balanced=True) >= 0


def test_a_wrong_option_is_named(samples):
    with pytest.raises(ValueError, match="`eps` must be positive, got 0"):
        transrate_score(*samples, eps=0)
