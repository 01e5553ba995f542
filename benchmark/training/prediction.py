"""Labels of whole cases, predicted with MONAI's sliding windows in memory that does not grow with the volume."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Generic, TypeVar

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import Tensor, nn

from benchmark.data.files.cases import BoxReader
from benchmark.training.precision import Precision, autocast

BATCH = 4  # windows per forward pass
SLAB_BYTES = 2**30  # a larger sum of logits is in a temporary file, not in memory
ARGMAX_VOXELS = 2**22  # voxels whose largest logit is taken at once: torch returns 8 bytes for each
CaseT = TypeVar("CaseT", bound=BoxReader)
Triple = tuple[int, ...]


def predict(
    network: nn.Module,
    cases: Iterable[CaseT],
    *,
    window: Sequence[int],
    overlap: float = 0.25,
    precision: Precision = "float32",
) -> Iterator[tuple[CaseT, Tensor]]:
    """Predict the labels of whole cases.

    The windows, their Gaussian weights and the repeated edges of a case smaller than a window are those of MONAI's
    `sliding_window_inference`, and so are the labels, except where rounding decides. Three things differ:

    - Logits are summed in a slab of the volume. Once no later window covers a row, its labels are taken and the row is
      released, so the sums of k classes take 4 k bytes x a window's side x the two other sides of the volume.
    - Windows of consecutive cases share a forward pass: on a CPU, torch convolves a batch of 1 several times slower
      than each item of a batch of 2.
    - A thread reads the next windows while the network computes.

    Args:
        network: Maps (b, c, D, H, W) to logits (b, k, D, H, W).
        cases: The cases; of each, only the windows are read.
        window: (3,) voxels of the sliding window.
        overlap: Share by which neighbouring windows overlap, in [0, 1).
        precision: Number format of the forward passes; logits are summed in float32.

    Yields:
        Each case, in order, with its predicted labels (D, H, W) uint8 on the CPU.

    Raises:
        TypeError: The network does not return logits of the window's size.
    """
    device = next(network.parameters()).device
    size = tuple(window)
    weight = compute_importance_map(size, mode="gaussian", device=device, dtype=torch.float32)
    batches = _batches(cases, size, overlap, pinned=device.type == "cuda")
    read = partial(copy_context().run, next, batches, None)  # the thread remembers digests as its caller does
    with ThreadPoolExecutor(1, "windows") as reader:
        ahead = reader.submit(read)
        while (batch := ahead.result()) is not None:
            ahead = reader.submit(read)
            with torch.inference_mode():
                images = batch.images.to(device, memory_format=torch.channels_last_3d, non_blocking=True)
                with autocast(device, precision):
                    maps = _logits(network, images)
                finished = [place.add(logits, weight) for place, logits in zip(batch.places, maps, strict=True)]
            del images, maps
            yield from (pair for pair in finished if pair is not None)


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    logits = network(images)
    if not isinstance(logits, Tensor) or logits.shape[2:] != images.shape[2:]:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"`network` must return logits (b, k, *window) for {tuple(images.shape)}, got {got}")
    return logits


@dataclass(frozen=True)
class _WindowPlace(Generic[CaseT]):
    """First voxel of a window, (3,), within a case, and whether it is the case's last window."""

    case: CaseT
    slab: "_LogitSlab"
    start: Triple
    is_last: bool

    def add(self, logits: Tensor, weight: Tensor) -> tuple[CaseT, Tensor] | None:
        """Add the window's logits (k, *window) to the case; returns the case and its labels after the last window."""
        self.slab.add(logits, weight, self.start)
        return (self.case, self.slab.finish()) if self.is_last else None


@dataclass(frozen=True)
class _WindowBatch(Generic[CaseT]):
    """Up to BATCH windows of consecutive cases; images are (b, c, *window) float32."""

    places: list[_WindowPlace[CaseT]]
    images: Tensor


def _batches(cases: Iterable[CaseT], window: Triple, overlap: float, *, pinned: bool) -> Iterator[_WindowBatch[CaseT]]:
    places: list[_WindowPlace[CaseT]] = []
    images: list[Tensor] = []
    for case in cases:
        slab = _LogitSlab(case.shape, window)
        starts = _starts(case.shape, window, overlap, slowest=slab.axis)
        for at, start in enumerate(starts, 1):
            places.append(_WindowPlace(case, slab, start, is_last=at == len(starts)))
            images.append(_padded(case.read_image(_box(start, case.shape, window)), window))
            if len(places) == BATCH:
                yield _WindowBatch(places, _stacked(images, pinned=pinned))
                places, images = [], []
    if places:
        yield _WindowBatch(places, _stacked(images, pinned=pinned))


def _stacked(images: list[Tensor], *, pinned: bool) -> Tensor:
    stacked = torch.stack(images)
    return stacked.pin_memory() if pinned else stacked


def _starts(shape: Triple, window: Triple, overlap: float, *, slowest: int) -> list[Triple]:
    """First voxel of each of MONAI's windows over a volume, by rows of the axis `slowest`."""
    padded = [max(n, side) for n, side in zip(shape, window, strict=True)]
    steps = [side if side == n else max(int(side * (1 - overlap)), 1) for n, side in zip(padded, window, strict=True)]
    places = dense_patch_slices(padded, window, steps)
    return sorted((tuple(int(part.start) for part in place) for place in places), key=lambda start: start[slowest])


def _box(start: Triple, shape: Triple, window: Triple) -> tuple[slice, ...]:
    return tuple(slice(first, min(first + side, n)) for first, n, side in zip(start, shape, window, strict=True))


def _padded(image: Tensor, window: Triple) -> Tensor:
    """Repeat the edges of an image (c, d, h, w) that is smaller than a window, evenly on both sides."""
    widths: list[int] = []
    for n, side in zip(reversed(image.shape), reversed(window), strict=False):
        widths += [(side - n) // 2, side - n - (side - n) // 2]
    return nn.functional.pad(image[None], widths, mode="replicate")[0] if any(widths) else image


class _LogitSlab:
    """Weighted sum of the logits of a case, over as many rows of one axis as a window covers.

    Windows are added by rows of that axis. Dividing by the sum of weights would not change which class is largest.

    Args:
        shape: (3,) voxels of the case.
        window: (3,) voxels of a window.

    Attributes:
        axis: The axis of the rows: the one that makes the slab smallest, which for a cubic window is the longest.
    """

    def __init__(self, shape: Triple, window: Triple) -> None:
        self.axis = min(range(len(shape)), key=lambda axis: min(window[axis] / shape[axis], 1.0))
        self._sides = tuple(min(n, side) for n, side in zip(shape, window, strict=True))
        self._inside = tuple(
            slice((side - own) // 2, (side - own) // 2 + own) for side, own in zip(window, self._sides, strict=True)
        )
        self._shape = shape
        self._first = 0  # row of the case that is the slab's first
        self._sums: Tensor | None = None
        self._labels = torch.empty(0, dtype=torch.uint8)

    def add(self, logits: Tensor, weight: Tensor, start: Triple) -> None:
        """Add weighted logits (k, *window) of the window whose first voxel is `start`; weights are (*window)."""
        if self._sums is None:
            self._labels = torch.empty(self._shape, dtype=torch.uint8)
            self._sums = self._zeros(len(logits), logits.device)
        if start[self.axis] > self._first:
            self._release(self._sums, start[self.axis])
        rows = [slice(first, first + side) for first, side in zip(start, self._sides, strict=True)]
        rows[self.axis] = slice(None)
        weighted = logits[(slice(None), *self._inside)].float() * weight[self._inside]
        self._sums[(slice(None), *rows)] += weighted.to(self._sums.device)

    def finish(self) -> Tensor:
        """The labels (D, H, W) uint8 of the case; its sums are released."""
        if self._sums is not None:
            self._release(self._sums, self._shape[self.axis])
            self._sums = None
        return self._labels

    def _zeros(self, classes: int, device: torch.device) -> Tensor:
        sides = (*self._shape[: self.axis], self._sides[self.axis], *self._shape[self.axis + 1 :])
        if 4 * classes * prod(sides) <= SLAB_BYTES:
            return torch.zeros(classes, *sides, device=device)
        return _zeros_in_file(classes, *sides)

    def _release(self, sums: Tensor, upto: int) -> None:
        """Take the labels of all rows before `upto` and move the slab there."""
        rows, labels = sums.movedim(self.axis + 1, 1), self._labels.movedim(self.axis, 0)
        done = upto - self._first
        chunk = max(ARGMAX_VOXELS // prod(rows.shape[2:]), 1)
        for first in range(0, done, chunk):
            last = min(first + chunk, done)
            largest = rows[:, first:last].max(0).indices  # argmax gives the same, 5 to 15 times slower on a CPU
            labels[self._first + first : self._first + last] = largest.to(torch.uint8)
        kept = rows.shape[1] - done
        for first in range(0, kept, done):  # in parts that do not overlap
            last = min(first + done, kept)
            rows[:, first:last] = rows[:, first + done : last + done]
        rows[:, kept:] = 0
        self._first = upto


def _zeros_in_file(*shape: int) -> Tensor:
    """Zeros (*shape) float32 in a file of the system's temporary folder, which the last reference deletes."""
    with tempfile.TemporaryDirectory(prefix="logits_") as folder:
        path = Path(folder) / "sums"
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 4 * prod(shape))  # a full disk is an error here, not a crash later
        return torch.from_file(str(path), shared=True, size=prod(shape), dtype=torch.float32).view(shape)
