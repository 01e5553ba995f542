"""PARC against scipy's Spearman of two dissimilarity matrices."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from baselines import parc_score


def test_the_definition(samples):
    features, labels = samples
    rows = (features - features.mean(axis=0)) / features.std(axis=0)
    first, second = np.triu_indices(len(labels), 1)
    apart = (1 - np.corrcoef(rows))[first, second]
    assert parc_score(features, labels) == pytest.approx(100 * spearmanr(apart, labels[first] != labels[second])[0])


def test_two_directions_two_classes_agree_wholly():
    """Multiples of one direction, positive for one class: correlations are 1 within and -1 between the classes."""
    sizes = np.array([1.0, 2.0, 3.0, -1.0, -2.0, -3.0])
    assert parc_score(np.outer(sizes, [1.0, -1.0, 2.0]), sizes < 0) == pytest.approx(100)


def test_all_components_lose_the_mean_only(samples):
    """Rotating standardised features changes the correlations between samples, which are over channels; it must run."""
    features, labels = samples
    assert -100 <= parc_score(features, labels, pca=3) <= 100


def test_one_channel_has_no_correlation():
    with pytest.warns(UserWarning, match="the same value in all channels"):
        assert np.isnan(parc_score(np.arange(6.0)[:, None], np.repeat([0, 1], 3)))


def test_a_wrong_option_is_named(samples):
    with pytest.raises(ValueError, match="`pca` must be at least 2 components, got 1"):
        parc_score(*samples, pca=1)
