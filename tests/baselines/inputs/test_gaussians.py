"""Class moments as the estimates read them."""

import numpy as np
import pytest

from baselines.inputs.gaussians import project, read_moments, sample_moments


def test_the_whole_follows_from_the_classes(samples):
    features, labels = samples
    kept = read_moments(sample_moments(features, labels))
    centred = features - features.mean(axis=0)
    assert kept.n == 60
    assert kept.total_mean() == pytest.approx(features.mean(axis=0))
    assert kept.within() + kept.between() == pytest.approx(centred.T @ centred)
    assert kept.total_quartics() == pytest.approx(((centred**2).sum(axis=1) ** 2).sum())


def test_balanced_classes_weigh_alike(samples):
    """As if each class had n / k samples of its own mean and covariance."""
    kept, plain = (read_moments(sample_moments(*samples), balanced=balanced) for balanced in (True, False))
    assert kept.count.tolist() == [20, 20, 20]
    covariances = [moments.scatter / moments.count[:, None, None] for moments in (kept, plain)]
    assert covariances[0] == pytest.approx(covariances[1])
    assert kept.total_mean() == pytest.approx(plain.mean.mean(axis=0))


def test_absent_classes_and_the_background_are_left_out(samples):
    features, labels = samples
    kept = read_moments(sample_moments(features, 2 * labels), foreground=True)
    assert kept.classes.tolist() == [2, 4]
    assert kept.note == "classes without samples left out: [1, 3]"


def test_all_components_keep_distances(samples):
    kept = read_moments(sample_moments(*samples))
    turned = project(kept, 4)
    assert np.linalg.norm(turned.mean[0] - turned.mean[1]) == pytest.approx(np.linalg.norm(kept.mean[0] - kept.mean[1]))
    assert np.trace(turned.within()) == pytest.approx(np.trace(kept.within()))


def test_few_components_keep_the_widest(samples):
    features, labels = samples
    wide = features * np.array([1.0, 1.0, 100.0, 1.0])
    turned = project(read_moments(sample_moments(wide, labels)), 1)
    assert np.trace(turned.within() + turned.between()) == pytest.approx(60 * wide.var(axis=0)[2], rel=1e-2)


def test_a_channel_that_is_not_finite_is_counted(samples):
    features, labels = samples
    features[3, 1] = np.nan
    assert read_moments(sample_moments(features, labels)).undefined == "1 of 4 channels hold NaN or inf"
