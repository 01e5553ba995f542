"""Labels: the value that nothing counts, and the check that every operation with labels makes."""

import torch
from torch import Tensor

IGNORED = 255  # label of voxels that nobody annotated: no statistic, loss or Dice counts them


def counted(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and labels without the ignored ones.

    Args:
        rows: (n, ...) of anything.
        labels: (n,) integers, IGNORED where nothing is known.

    Returns:
        What is left of both; the same tensors where nothing is ignored.

    Example:
        >>> counted(torch.tensor([[1.0], [2.0]]), torch.tensor([IGNORED, 1]))
        (tensor([[2.]]), tensor([1]))
    """
    known = labels != IGNORED
    return (rows, labels) if bool(known.all()) else (rows[known], labels[known])


def check_labels(labels: Tensor, n: int, k: int) -> None:
    """Raise unless labels are n integers in 0 .. k - 1.

    Args:
        labels: (n,) integers.
        n: how many there must be.
        k: number of classes.

    Raises:
        ValueError: with the rule that is broken.

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
