"""E-LEEP: the definition, and its bounds by the members."""

import numpy as np
import pytest

from baselines import e_leep_score, leep_score, ms_leep_score


def expected_prediction(softmax, labels):
    joint = np.stack([softmax[labels == c].sum(axis=0) for c in range(labels.max() + 1)])
    return ((joint / joint.sum(axis=0))[labels] * softmax).sum(axis=1)


@pytest.fixture
def members(predictions):
    softmax, labels = predictions
    return [softmax, softmax[:, :2] / softmax[:, :2].sum(axis=1, keepdims=True)], labels


def test_the_definition(members):
    softmaxes, labels = members
    mean = np.mean([expected_prediction(softmax, labels) for softmax in softmaxes], axis=0)
    assert e_leep_score(softmaxes, labels) == pytest.approx(np.log(mean).mean())


def test_one_member_is_leep(predictions):
    softmax, labels = predictions
    assert e_leep_score([softmax], labels) == pytest.approx(leep_score(softmax, labels))


def test_it_is_at_least_the_members_mean(members):
    """The logarithm is concave."""
    softmaxes, labels = members
    assert e_leep_score(softmaxes, labels) >= ms_leep_score(softmaxes, labels) / 2


def test_a_broken_member_leaves_it_undefined(members):
    softmaxes, labels = members
    broken = np.full_like(softmaxes[0], np.nan)
    with pytest.warns(UserWarning, match="1 of 2 members"):
        assert np.isnan(e_leep_score([softmaxes[0], broken], labels))


def test_an_empty_ensemble_is_an_error():
    with pytest.raises(ValueError, match="`softmaxes` must have at least one member, got 0"):
        e_leep_score([], np.array([0, 1]))
