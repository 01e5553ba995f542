"""Dice of predicted labels of whole cases (MONAI)."""

import math
from collections.abc import Sequence

from monai.metrics import compute_dice
from torch import Tensor

from benchmark.core.labels import IGNORED


def case_dice(predicted: Tensor, labels: Tensor, *, classes: int) -> list[float]:
    """Dice of each of the k - 1 foreground classes of a case, without ignored voxels.

    Args:
        predicted: (D, H, W) uint8.
        labels: (D, H, W) uint8; a class that is absent from them has NaN.
        classes: k, including the background.
    """
    predicted = predicted.masked_fill(labels == IGNORED, 0)
    return [_class_dice(predicted == c, labels == c) for c in range(1, classes)]  # one class in memory at a time


def _class_dice(predicted: Tensor, truth: Tensor) -> float:
    return float(compute_dice(predicted[None, None], truth[None, None]))


def mean_dice(dice: Sequence[Sequence[float]]) -> float:
    """Mean over classes of the mean over cases with that class; NaN if no case has any."""
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*dice, strict=True)]
    means = [sum(column) / len(column) for column in columns if column]
    return sum(means) / len(means) if means else math.nan
