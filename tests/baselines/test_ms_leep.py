"""MS-LEEP is the sum of its members' LEEPs."""

import numpy as np
import pytest

from baselines import leep_score, ms_leep_score


def test_it_adds_up(predictions):
    softmax, labels = predictions
    other = softmax[:, :2] / softmax[:, :2].sum(axis=1, keepdims=True)
    expected = leep_score(softmax, labels) + leep_score(other, labels)
    assert ms_leep_score([softmax, other], labels) == pytest.approx(expected)


def test_a_member_without_leep_leaves_it_undefined(predictions):
    softmax, labels = predictions
    broken = softmax.copy()
    broken[0, 0] = np.nan
    with pytest.warns(UserWarning, match="1 of 2 members have no LEEP: 1 of 4 source classes hold NaN or inf"):
        assert np.isnan(ms_leep_score([softmax, broken], labels))


def test_an_empty_ensemble_is_an_error():
    with pytest.raises(ValueError, match="`softmaxes` must have at least one member, got 0"):
        ms_leep_score([], np.array([0, 1]))
