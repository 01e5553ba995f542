"""Compactness: a case worked by hand, and its relation to TMI."""

import numpy as np
import pytest

from baselines import compactness_score, tmi_score


def test_points_score_best():
    """Variances are at least 0, so 0 is the upper bound."""
    value = compactness_score(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1]))
    assert (value, np.signbit(value)) == (0, False)


def test_priors_weigh_the_classes():
    """Variances 1 (of 2 samples) and 4 (of 4): -(1/3 1 + 2/3 4)."""
    features = np.array([-1.0, 1.0, 3.0, 7.0, 3.0, 7.0])[:, None]
    assert compactness_score(features, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(-3)
    assert compactness_score(features, np.array([0, 0, 1, 1, 1, 1]), balanced=True) == pytest.approx(-2.5)


@pytest.mark.parametrize("weights", [{}, {"balanced": True}, {"foreground": True}])
def test_it_is_minus_tmi(samples, weights):
    assert compactness_score(*samples, **weights) == -tmi_score(*samples, **weights)
