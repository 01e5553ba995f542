"""Dice of a network on whole cases, with MONAI's sliding windows and Dice."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from monai.inferers import sliding_window_inference
from monai.metrics import compute_dice
from torch import Tensor, nn

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Case

BATCH = 4  # windows per forward pass
TOGETHER = 2**22  # voxels of the cases whose logits are in memory at once; a single case may have more


def predict(
    network: nn.Module, cases: Iterable[Case], *, window: Sequence[int], overlap: float = 0.25
) -> Iterator[tuple[Case, Tensor]]:
    """Predict the labels of whole cases, with a few cases in memory at a time.

    Consecutive cases of equal shape are predicted together: on a CPU, torch convolves a batch of 1 several times slower
    than each item of a batch of 2.

    Args:
        network: Maps (b, c, D, H, W) to (b, k, D, H, W).
        cases: The cases; each is read once.
        window: (3,) voxels of the sliding window.
        overlap: Share by which neighbouring windows overlap.

    Yields:
        Each case, in order, with its predicted labels (D, H, W) uint8 on the CPU.
    """
    device = next(network.parameters()).device
    for alike in _alike(cases):
        images = torch.stack([case.image for case in alike]).to(device, memory_format=torch.channels_last_3d)
        with torch.inference_mode():
            logits = sliding_window_inference(
                images, tuple(window), BATCH, network, overlap=overlap, mode="gaussian", padding_mode="replicate"
            )
            labels = torch.as_tensor(logits).argmax(1).to(torch.uint8).cpu()
        yield from zip(alike, labels, strict=True)


def _alike(cases: Iterable[Case]) -> Iterator[list[Case]]:
    """Group consecutive cases of equal shape, up to TOGETHER voxels."""
    group: list[Case] = []
    for case in cases:
        voxels = case.labels.numel()
        if group and (case.image.shape != group[0].image.shape or voxels * (len(group) + 1) > TOGETHER):
            yield group
            group = []
        group.append(case)
    if group:
        yield group


def case_dice(predicted: Tensor, labels: Tensor, *, classes: int) -> list[float]:
    """Dice of each of the k - 1 foreground classes of a case, without ignored voxels.

    Args:
        predicted: (D, H, W) uint8.
        labels: (D, H, W) uint8; a class that is absent from them has NaN.
        classes: k, including the background.
    """
    predicted = predicted.masked_fill(labels == IGNORED, 0)
    one_hot = [torch.stack([volume == c for c in range(classes)])[None] for volume in (predicted, labels)]
    return [float(value) for value in compute_dice(*one_hot, include_background=False)[0]]


def mean_dice(dice: Sequence[Sequence[float]]) -> float:
    """Mean over classes of the mean over cases with that class; NaN if no case has any."""
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*dice, strict=True)]
    means = [sum(column) / len(column) for column in columns if column]
    return sum(means) / len(means) if means else math.nan
