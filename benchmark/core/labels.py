"""The label of ignored voxels, and validation of labels."""

import torch
from torch import Tensor

IGNORED = 255  # label of voxels without annotation; statistics, losses and Dice leave them out


def foreground(labels: Tensor) -> Tensor:
    """Mark the voxels of a class above 0 that are not ignored, (...) bool.

    Example:
        >>> foreground(torch.tensor([0, 2, IGNORED])).tolist()
        [False, True, False]
    """
    return (labels != 0) & (labels != IGNORED)


def counted(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Remove the ignored ones of n rows (n, ...) and labels (n,); the same tensors if none is ignored.

    Example:
        >>> counted(torch.tensor([[1.0], [2.0]]), torch.tensor([IGNORED, 1]))
        (tensor([[2.]]), tensor([1]))
    """
    known = labels != IGNORED
    return (rows, labels) if bool(known.all()) else (rows[known], labels[known])


def check_labels(labels: Tensor, n: int, k: int) -> None:
    """Check that labels are n integers in 0 .. k - 1.

    Raises:
        ValueError: if they are not.

    Example:
        >>> check_labels(torch.tensor([0, 3]), 2, 3)
        Traceback (most recent call last):
        ValueError: `labels` must be in 0 .. 2, got 3
    """
    if labels.shape != (n,) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"`labels` must be integers of shape ({n},), got {labels.dtype} {tuple(labels.shape)}")
    if n == 0 or labels.dtype is torch.bool:
        return
    low, high = labels.aminmax()
    if low < 0 or high >= k:
        raise ValueError(f"`labels` must be in 0 .. {k - 1}, got {int(low if low < 0 else high)}")
