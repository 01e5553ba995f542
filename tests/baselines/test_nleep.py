"""NLEEP: its limits, and what it says of a mixture that cannot be fitted."""

import numpy as np
import pytest

from baselines import nleep_score

# The mixture's posteriors are float32
FLOAT32 = 1e-6


def test_far_classes_are_certain():
    """No component spans two classes, so each component gives its class the probability 1."""
    labels = np.repeat([0, 1], 60)
    rows = np.random.default_rng(0).normal(size=(120, 2)) + 1000 * labels[:, None]
    assert nleep_score(rows, labels) == pytest.approx(0, abs=FLOAT32)


def test_one_component_knows_the_priors():
    """Its posterior is 1 for every sample: LEEP is minus the entropy of the labels."""
    labels = np.repeat([0, 1], [30, 10])
    rows = np.random.default_rng(0).normal(size=(40, 2))
    assert nleep_score(rows, labels, components=1) == pytest.approx(0.75 * np.log(0.75) + 0.25 * np.log(0.25))


def test_the_seed_decides(samples):
    assert nleep_score(*samples, random_state=1) == nleep_score(*samples, random_state=1)


def test_a_mixture_that_collapses_is_undefined():
    rows = np.random.default_rng(0).normal(size=(30, 100))
    with pytest.warns(UserWarning, match="the mixture cannot be fitted|fewer than"):
        assert np.isnan(nleep_score(1e4 * rows, np.repeat([0, 1], 15), pca=None))


@pytest.mark.parametrize(
    ("options", "message"), [({"pca": 1.5}, r"`pca` must lie in \(0, 1\)"), ({"components": 0}, "`components` must be")]
)
def test_a_wrong_option_is_named(samples, options, message):
    with pytest.raises(ValueError, match=message):
        nleep_score(*samples, **options)
