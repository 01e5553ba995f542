"""SFDA against its definition by generalised eigenvectors."""

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.special import softmax

from baselines import sfda_score


def direct(features, labels):
    labels = np.unique(labels, return_inverse=True)[1]
    prior = np.bincount(labels) / len(labels)
    own = np.arange(len(labels))

    def posterior(rows, s):
        means = np.stack([rows[labels == c].mean(axis=0) for c in range(len(prior))])
        within = sum(p * np.cov(rows[labels == c].T, bias=True) for c, p in enumerate(prior))
        s = max(np.exp(-5 * np.linalg.eigvalsh(within)[-1]), 1e-10) if s is None else s
        shrunk = [(1 - s) * m + s * np.trace(m) / len(m) * np.eye(len(m)) for m in (np.cov(rows.T, bias=True), within)]
        v = eigh(shrunk[0] - shrunk[1], shrunk[1])[1]
        coefficients = means @ v @ v.T
        scores = rows @ coefficients.T - np.einsum("cd,cd->c", means, coefficients) / 2 + np.log(prior)
        return softmax(scores, axis=1), means, s

    first, means, s = posterior(features, None)
    q = softmax(first, axis=1)[own, labels][:, None]
    others = np.stack([np.delete(means, c, axis=0).mean(axis=0) for c in range(len(prior))])
    return posterior(q * features + (1 - q) * others[labels], s)[0][own, labels].mean()


@pytest.mark.parametrize("unit", [0.3, 1.0])
def test_the_definition(samples, unit):
    features, labels = samples
    assert sfda_score(unit * features, labels) == pytest.approx(direct(unit * features, labels))


def test_identical_classes_get_their_priors():
    """Both classes are moved towards each other's equal mean alike, so the posteriors stay 1/2."""
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert sfda_score(np.vstack([rows, rows]), np.repeat([0, 1], 20)) == pytest.approx(0.5)


def test_far_classes_are_certain(samples):
    features, labels = samples
    assert sfda_score(features + 1000 * np.eye(3, 4)[labels], labels) == pytest.approx(1)


def test_classes_that_are_points_are_undefined():
    with pytest.warns(UserWarning, match="no class varies"):
        assert np.isnan(sfda_score(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])))
