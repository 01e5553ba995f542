"""TMI: cases worked by hand, and its sign."""

import numpy as np
import pytest

from baselines import tmi_score


def test_points_have_no_variance():
    assert tmi_score(np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])) == 0


def test_priors_weigh_the_classes():
    """Variances 1 (of 2 samples) and 4 (of 4): 1/3 1 + 2/3 4."""
    features = np.array([-1.0, 1.0, 3.0, 7.0, 3.0, 7.0])[:, None]
    assert tmi_score(features, np.array([0, 0, 1, 1, 1, 1])) == pytest.approx(3)
    assert tmi_score(features, np.array([0, 0, 1, 1, 1, 1]), balanced=True) == pytest.approx(2.5)


def test_twice_the_unit_is_four_times_the_variance(samples):
    features, labels = samples
    assert tmi_score(2 * features, labels) == pytest.approx(4 * tmi_score(features, labels))


def test_it_rewards_classes_that_spread():
    """The paper's order: points about two centres score higher the wider they spread, up to no classes at all."""
    labels = np.repeat([0, 1], 50)
    noise = np.random.default_rng(0).normal(size=(100, 2))
    centres = 3.0 * labels[:, None]
    shuffled = np.random.default_rng(1).permutation(labels)
    assert tmi_score(0.1 * noise + centres, labels) < tmi_score(noise + centres, labels)
    assert tmi_score(noise + centres, labels) < tmi_score(noise + centres, shuffled)
