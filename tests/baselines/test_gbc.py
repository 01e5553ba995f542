"""GBC: bounds, cases worked by hand, and its sample form."""

import numpy as np
import pytest

from baselines import gbc_score

FORMS = ("diagonal", "spherical", "full")


@pytest.mark.parametrize("gaussian", FORMS)
def test_identical_classes_overlap_wholly(gaussian):
    """D_B = 0 for each of the k (k - 1) ordered pairs."""
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert gbc_score(np.vstack([rows] * 3), np.repeat([0, 1, 2], 20), gaussian=gaussian) == pytest.approx(-6)


@pytest.mark.parametrize("gaussian", FORMS)
def test_far_classes_do_not_overlap(gaussian):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    assert gbc_score(np.vstack([rows, rows + 100]), np.repeat([0, 1], 20), gaussian=gaussian) == pytest.approx(
        0, abs=1e-9
    )


@pytest.mark.parametrize("gaussian", FORMS)
def test_one_dimension_by_hand(gaussian):
    """Means 0 and 2, variances 1 and 4: D_B = 1/8 4/2.5 + 1/2 log(2.5 / 2), each pair twice."""
    features = np.array([-1.0, 1.0, 0.0, 4.0])[:, None]
    expected = -2 * np.exp(-(4 / 2.5) / 8) / np.sqrt(2.5 / 2)
    assert gbc_score(features, np.array([0, 0, 1, 1]), gaussian=gaussian) == pytest.approx(expected)


def test_the_forms_agree_on_spherical_gaussians():
    """Where all variances are equal and uncorrelated in the sample, diagonal, spherical and full are one."""
    cross = np.vstack([np.eye(3), -np.eye(3)])
    features, labels = np.vstack([cross, 3 * cross + 1]), np.repeat([0, 1], 6)
    values = [gbc_score(features, labels, gaussian=gaussian) for gaussian in FORMS]
    assert values == pytest.approx([values[0]] * 3)


def test_full_is_free_of_rotation(samples):
    features, labels = samples
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(features.shape[1],) * 2))[0]
    one, other = (gbc_score(rows, labels, gaussian="full") for rows in (features, features @ turn))
    assert one == pytest.approx(other)


def test_all_components_lose_nothing(samples):
    """Principal components are a rotation, to which full is invariant."""
    features, labels = samples
    whole = gbc_score(features, labels, gaussian="full")
    assert gbc_score(features, labels, gaussian="full", pca=features.shape[1]) == pytest.approx(whole)


def test_the_floor_makes_small_features_alike(samples):
    features, labels = samples
    small = 1e-4 * features
    assert gbc_score(small, labels) < gbc_score(features, labels)
    assert gbc_score(small, labels, var_floor=1e-12) == pytest.approx(gbc_score(features, labels), rel=1e-6)


@pytest.mark.parametrize("gaussian", FORMS)
def test_without_a_floor_a_flat_class_is_undefined(gaussian):
    features = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0], [6.0, 0.0]])
    with pytest.warns(UserWarning, match="no variance"):
        value = gbc_score(
            np.vstack([features[:, :1] * 0, features[:, :1]]), np.repeat([0, 1], 4), gaussian=gaussian, var_floor=0
        )
    assert np.isnan(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gaussian": "round"}, "`gaussian` must be"),
        ({"var_floor": -1.0}, "`var_floor` must not be negative, got -1.0"),
        ({"pca": 0}, "`pca` must be at least 1 component, got 0"),
    ],
)
def test_a_wrong_option_is_named(samples, options, message):
    with pytest.raises(ValueError, match=message):
        gbc_score(*samples, **options)
