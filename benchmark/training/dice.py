"""Dice of a network on whole cases (MONAI sliding windows and Dice)."""

import math
from collections.abc import Sequence

import torch
from monai.inferers import sliding_window_inference
from monai.metrics import compute_dice
from torch import Tensor, nn

from benchmark.core.labels import IGNORED
from benchmark.data.case import Case

BATCH = 4  # windows that go through the network together


def predict(network: nn.Module, cases: Sequence[Case], *, window: Sequence[int], overlap: float = 0.25) -> list[Tensor]:
    """Logits of whole cases.

    Cases of one shape go through together: on a CPU, torch convolves a batch of one several times slower than each
    of a batch of two.

    Args:
        network: Maps (b, c, D, H, W) to (b, k, D, H, W).
        cases: The cases.
        window: (3,) voxels of the sliding window.
        overlap: Share by which neighbouring windows overlap.

    Returns:
        (k, D, H, W) float32 logits of each case, on the network's device.
    """
    device = next(network.parameters()).device
    cases = list(cases)  # read once: a task's cases are read each time that they are gone through
    logits: dict[str, Tensor] = {}
    for shape in dict.fromkeys(case.image.shape for case in cases):
        alike = [case for case in cases if case.image.shape == shape]
        images = torch.stack([case.image for case in alike]).to(device, memory_format=torch.channels_last_3d)
        with torch.inference_mode():
            found = sliding_window_inference(
                images, tuple(window), BATCH, network, overlap=overlap, mode="gaussian", padding_mode="replicate"
            )
        logits |= {case.name: values.float() for case, values in zip(alike, torch.as_tensor(found), strict=True)}
    return [logits[case.name] for case in cases]


def case_dice(logits: Tensor, labels: Tensor) -> list[float]:
    """Dice of each foreground class of one case; ignored voxels are in neither set.

    Args:
        logits: (k, D, H, W) float32.
        labels: (D, H, W) uint8.

    Returns:
        k - 1 values; NaN for a class that the labels do not hold.
    """
    classes = logits.shape[0]
    predicted = logits.argmax(0).masked_fill(labels.to(logits.device) == IGNORED, 0)
    one_hot = [torch.stack([volume == c for c in range(classes)]) for volume in (predicted, labels)]
    values = compute_dice(one_hot[0][None], one_hot[1][None].to(logits.device), include_background=False)
    return [float(value) for value in values[0]]


def mean_dice(dice: Sequence[Sequence[float]]) -> float:
    """Mean over classes of the mean over cases that hold the class; NaN if no case holds any."""
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*dice, strict=True)]
    means = [sum(column) / len(column) for column in columns if column]
    return sum(means) / len(means) if means else math.nan
