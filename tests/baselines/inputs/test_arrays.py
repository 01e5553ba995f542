"""What the sample doors take, and what they call wrong."""

import numpy as np
import pytest
import torch

from baselines import gbc_score, leep_score
from baselines.inputs.arrays import read_labels, read_rows, read_samples, read_softmax


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int32])
def test_tensors_of_any_real_type(dtype):
    rows = read_rows(torch.tensor([[1.0, 2.0]]).to(dtype))
    assert rows.dtype == np.float64
    assert rows.tolist() == [[1, 2]]


def test_numpy_and_torch_score_alike(samples):
    features, labels = samples
    tensors = torch.from_numpy(features).requires_grad_(), torch.from_numpy(labels)
    assert gbc_score(*tensors) == gbc_score(features, labels)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros(3), r"`features` must be real numbers of shape \(n, d\), got float64 \(3,\)"),
        (np.zeros((3, 0)), r"got float64 \(3, 0\)"),
        (np.zeros((2, 2), complex), r"got complex128 \(2, 2\)"),
        (np.array([["a"]]), "`features` must be real numbers"),
    ],
)
def test_wrong_features_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        read_rows(rows)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 1), np.float32), r"`labels` must be integers of shape \(2,\), got float32 \(2, 1\)"),
        (np.zeros(3, int), r"got int64 \(3,\)"),
        (np.array([0, -1]), "`labels` must not be negative, got -1"),
    ],
)
def test_wrong_labels_are_named(labels, message):
    with pytest.raises(ValueError, match=message):
        read_labels(labels, 2)


def test_booleans_are_two_classes():
    assert read_labels(np.array([True, False]), 2).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("softmax", "message"),
    [
        (np.array([[1.5, -0.5]]), "`softmax` must not be negative, got -0.5"),
        (np.array([[0.5, 0.5], [3.0, 4.0]]), "rows that sum to 1 within 0.01, got a row of sum 7"),
    ],
)
def test_what_is_no_softmax_is_named(softmax, message):
    with pytest.raises(ValueError, match=message):
        read_softmax(softmax, np.zeros(len(softmax), int))


def test_a_nan_warns_with_its_reason():
    with pytest.warns(UserWarning, match="only class 1 has samples: a score needs two classes"):
        assert np.isnan(leep_score(np.eye(2), np.array([1, 1])))
    assert read_samples(np.zeros((0, 2)), np.zeros(0, int)).undefined == "no samples"
