"""JointHistogram: sums of source predictions by target label, for the LEEP family."""

from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmark.core.backend import Backend
from benchmark.core.joint_histogram import joint_histogram
from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Statistic, check_mergeable
from benchmark.storage.files import read_tensors, write_tensors


class JointHistogram(Statistic):
    """Sums of the source's softmax (soft) and of its argmax (hard) over the rows of each target class.

    Args:
        k: target classes.
        z: source classes.
        backend: "auto", "torch" or "triton".

    Attributes:
        soft: (k, z) float64, sums of probabilities.
        hard: (k, z) float64, counts of the argmax; NaN for a source class with NaN or inf.
        count: (k,) int64, number of rows.

    Example:
        >>> joint = JointHistogram.from_samples(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([0, 1]), 2)
        >>> joint.soft.tolist(), joint.hard.tolist(), joint.n
        ([[0.75, 0.25], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]], 2)
    """

    settings = ("k", "z")

    def __init__(self, k: int, z: int, *, backend: Backend = "auto") -> None:
        self.backend: Backend = backend
        self.soft = torch.zeros(k, z, dtype=torch.float64)
        self.hard = torch.zeros(k, z, dtype=torch.float64)
        self.count = torch.zeros(k, dtype=torch.int64)

    @classmethod
    def from_samples(cls, softmax: Array, labels: Array, k: int) -> Self:
        """Compute the histogram of arrays; `softmax` and `labels` as in `add`, `k` target classes."""
        histogram = cls(k, torch.as_tensor(softmax).shape[-1])
        histogram.add(softmax, labels)
        return histogram

    @property
    def k(self) -> int:
        """Target classes."""
        return self.soft.shape[0]

    @property
    def z(self) -> int:
        """Source classes."""
        return self.soft.shape[1]

    @property
    def n(self) -> int:
        """Number of rows added."""
        return int(self.count.sum())

    def add(self, softmax: Array, labels: Array) -> None:
        """Add rows.

        Args:
            softmax: (n, z) probabilities, numpy or torch.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape, a type or a label is invalid.
        """
        rows = torch.as_tensor(softmax)
        targets = torch.as_tensor(labels, device=rows.device)
        joint = joint_histogram(rows, targets, self.k, backend=self.backend)
        self._add(joint.soft.cpu(), joint.hard.cpu(), torch.bincount(targets.long(), minlength=self.k).cpu())

    def update(self, window: OwnedWindow) -> None:
        """Add all voxels that a window owns, except ignored ones."""
        for softmax, labels in window.predictions():
            self.add(softmax, labels)

    def merge(self, other: Self) -> Self:
        """Add two histograms into a new one.

        Raises:
            ValueError: if k or z differ.
        """
        check_mergeable(self, other, self.settings)
        merged = copy(self)
        merged._add(other.soft, other.hard, other.count)
        return merged

    def widened(self, k: int) -> Self:
        """Append empty target classes, up to `k` of them in total, in a new histogram."""
        wider = type(self)(k, self.z)
        for mine, theirs in ((wider.soft, self.soft), (wider.hard, self.hard), (wider.count, self.count)):
            mine[: self.k] = theirs
        return wider

    def save(self, folder: Path) -> None:
        """Write `joint.safetensors`."""
        write_tensors(folder / "joint.safetensors", {"soft": self.soft, "hard": self.hard, "count": self.count})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        tensors = read_tensors(folder / "joint.safetensors")
        histogram = cls(*tensors["soft"].shape)
        histogram._add(**tensors)
        return histogram

    def _add(self, soft: Tensor, hard: Tensor, count: Tensor) -> None:
        self.soft, self.hard, self.count = self.soft + soft, self.hard + hard, self.count + count


@dataclass(frozen=True)
class JointRequest:
    """Requests the joint histogram of target labels and source predictions over all voxels."""

    kind: ClassVar[type[Statistic]] = JointHistogram

    def start(self, context: PassContext) -> JointHistogram:
        """An empty histogram of k target and z source classes."""
        return JointHistogram(context.k, context.z, backend=context.backend)
