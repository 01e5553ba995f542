"""Labels are checked alike by every operation."""

import pytest
import torch

from benchmark.core.labels import check_labels


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_integers_pass(dtype):
    check_labels(torch.tensor([0, 1, 1]).to(dtype), 3, 2)
    check_labels(torch.zeros(0, dtype=dtype), 0, 2)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (torch.zeros(3), r"`labels` must be integers of shape \(3,\), got torch.float32 \(3,\)"),
        (torch.zeros(3, 1, dtype=torch.int64), r"got torch.int64 \(3, 1\)"),
        (torch.tensor([0, 1, 2]), r"`labels` must be in 0 .. 1, got 2"),
        (torch.tensor([0, 1, -1]), r"`labels` must be in 0 .. 1, got -1"),
    ],
)
def test_others_are_named(labels, text):
    with pytest.raises(ValueError, match=text):
        check_labels(labels, 3, 2)
