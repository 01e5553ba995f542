"""LDA: the discriminant against scikit-learn's, and its limits."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from baselines import lda_score


@pytest.mark.parametrize("shrinkage", [0.1, 0.9])
def test_the_posterior_is_that_of_scikit_learn(samples, shrinkage):
    """Its covariance is the prior-weighted mean of shrunk class covariances, which shrinks as the mean does."""
    features, labels = samples
    fitted = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(features, labels)
    expected = fitted.predict_proba(features)[np.arange(len(labels)), labels].mean()
    assert lda_score(features, labels, shrinkage=shrinkage) == pytest.approx(expected)


def test_identical_classes_get_their_priors():
    """No sample tells the classes apart, so each posterior is 1/2."""
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert lda_score(np.vstack([rows, rows]), np.repeat([0, 1], 20)) == pytest.approx(0.5)


def test_far_classes_are_certain(samples):
    features, labels = samples
    assert lda_score(features + 100 * np.eye(3, 4)[labels], labels) == pytest.approx(1)


def test_a_wrong_option_is_named(samples):
    with pytest.raises(ValueError, match=r"`shrinkage` must lie in \(0, 1\] or be None, got 0"):
        lda_score(*samples, shrinkage=0)
