"""The regularised H-score against scikit-learn's Ledoit-Wolf estimate."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from baselines import regularized_h_score, regularized_h_score_from_moments
from benchmark import ClassMoments


def direct(features, labels):
    estimate = LedoitWolf().fit(features)
    conditional = np.stack([features[labels == label].mean(axis=0) for label in labels])
    return (1 - estimate.shrinkage_) * np.trace(np.linalg.pinv(estimate.covariance_) @ np.cov(conditional.T))


def test_the_definition(samples):
    assert regularized_h_score(*samples) == pytest.approx(direct(*samples))


def test_fewer_samples_than_dimensions():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 8)
    rows = generator.normal(size=(24, 40)) * np.linspace(0.1, 3, 40) + 2 * np.eye(3, 40)[labels]
    assert regularized_h_score(rows, labels) == pytest.approx(direct(rows, labels))


def test_the_shrinkage_follows_from_merged_moments(samples):
    features, labels = samples
    k = labels.max() + 1
    parts = [ClassMoments.from_samples(features[rows], labels[rows], k) for rows in (slice(0, 20), slice(20, None))]
    shrinkage = regularized_h_score_from_moments(parts[0].merge(parts[1])).parts["shrinkage"]
    assert shrinkage == pytest.approx(LedoitWolf().fit(features).shrinkage_)


def test_equal_means_explain_nothing():
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert regularized_h_score(np.vstack([rows, rows]), np.repeat([0, 1], 20)) == pytest.approx(0)
