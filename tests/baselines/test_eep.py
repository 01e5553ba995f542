"""EEP: the definition and its bounds."""

import numpy as np
import pytest

from baselines import eep_score


def test_the_definition(predictions):
    softmax, labels = predictions
    joint = np.stack([softmax[labels == c].sum(axis=0) for c in range(3)])
    given = joint / joint.sum(axis=0)
    assert eep_score(softmax, labels) == pytest.approx(np.mean((given[labels] * softmax).sum(axis=1)))


def test_it_is_at_least_that_of_the_priors(predictions):
    """Sum over z of P(z) sum_c P(c given z)^2 is convex in P(c given z), whose mean is the prior: at least sum_c
    P(c)^2."""
    assert eep_score(np.ones((60, 1)), predictions[1]) == pytest.approx(0.25 + 1 / 9 + 1 / 36)
    assert 0.25 + 1 / 9 + 1 / 36 <= eep_score(*predictions) <= 1


def test_foreground_leaves_class_0_out(predictions):
    softmax, labels = predictions
    kept = labels > 0
    assert eep_score(softmax, labels, foreground=True) == pytest.approx(eep_score(softmax[kept], labels[kept] - 1))
