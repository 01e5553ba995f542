"""Dice of a network on whole cases (MONAI sliding windows and Dice)."""

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from monai.inferers import sliding_window_inference
from monai.metrics import compute_dice
from torch import Tensor, nn

from benchmark.core.labels import IGNORED
from benchmark.data.files.case import Case

BATCH = 4  # windows that go through the network together
TOGETHER = 2**22  # voxels of cases whose logits are held at once; one case may have more


def predict(
    network: nn.Module, cases: Iterable[Case], *, window: Sequence[int], overlap: float = 0.25
) -> Iterator[tuple[Case, Tensor]]:
    """The labels of whole cases, a few cases in memory at a time.

    Neighbours of one shape go through together: on a CPU, torch convolves a batch of one several times slower than each
    of a batch of two.

    Args:
        network: Maps (b, c, D, H, W) to (b, k, D, H, W).
        cases: The cases, each read once.
        window: (3,) voxels of the sliding window.
        overlap: Share by which neighbouring windows overlap.

    Yields:
        Each case in its turn with its (D, H, W) uint8 predicted labels, on the CPU.
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
    """Neighbours of one shape, as many as go through together."""
    held: list[Case] = []
    for case in cases:
        voxels = case.labels.numel()
        if held and (case.image.shape != held[0].image.shape or voxels * (len(held) + 1) > TOGETHER):
            yield held
            held = []
        held.append(case)
    if held:
        yield held


def case_dice(predicted: Tensor, labels: Tensor, *, classes: int) -> list[float]:
    """Dice of each foreground class of one case; ignored voxels are in neither set.

    Args:
        predicted: (D, H, W) uint8 labels.
        labels: (D, H, W) uint8.
        classes: k, the background counted.

    Returns:
        k - 1 values; NaN for a class that the labels do not hold.
    """
    predicted = predicted.masked_fill(labels == IGNORED, 0)
    one_hot = [torch.stack([volume == c for c in range(classes)])[None] for volume in (predicted, labels)]
    values = compute_dice(*one_hot, include_background=False)
    return [float(value) for value in values[0]]


def mean_dice(dice: Sequence[Sequence[float]]) -> float:
    """Mean over classes of the mean over cases that hold the class; NaN if no case holds any."""
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*dice, strict=True)]
    means = [sum(column) / len(column) for column in columns if column]
    return sum(means) / len(means) if means else math.nan
