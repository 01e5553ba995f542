"""JointHistogram: sums of source predictions by target label, for the LEEP family."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.backend import Backend
from benchmark.core.joint_histogram import joint_histogram
from benchmark.core.labels import counted
from benchmark.statistics.protocol import OwnedWindow, PassContext
from benchmark.storage.files import read_tensors, write_tensors

Array: TypeAlias = NDArray[Any] | Tensor


class JointHistogram:
    """Sums of the source's softmax (soft) and of its argmax (hard) over the rows of each target class.

    Args:
        k: target classes.
        z: source classes.
        backend: "auto", "torch" or "triton".

    Attributes:
        soft: (k, z) float64, sums of probabilities.
        hard: (k, z) float64, counts of the argmax; NaN for a source class with NaN or inf.

    Example:
        >>> joint = JointHistogram.from_samples(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([0, 1]), 2)
        >>> joint.soft.tolist(), joint.hard.tolist(), joint.n
        ([[0.75, 0.25], [0.5, 0.5]], [[1.0, 0.0], [1.0, 0.0]], 2)
    """

    def __init__(self, k: int, z: int, *, backend: Backend = "auto") -> None:
        self.backend: Backend = backend
        self.soft = torch.zeros(k, z, dtype=torch.float64)
        self.hard = torch.zeros(k, z, dtype=torch.float64)
        self.count = torch.zeros(k, dtype=torch.int64)

    @classmethod
    def from_samples(cls, softmax: Array, labels: Array, k: int) -> Self:
        """Compute the histogram of arrays.

        Args:
            softmax: (n, z) probabilities, numpy or torch.
            labels: (n,) integers in 0 .. k - 1.
            k: target classes.

        Returns:
            The histogram.

        Raises:
            ValueError: if a shape, a type or a label is invalid.
        """
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
        self.soft = self.soft + joint.soft.cpu()
        self.hard = self.hard + joint.hard.cpu()
        self.count = self.count + torch.bincount(targets.long(), minlength=self.k).cpu()

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Nothing to prepare for a case."""

    def update(self, window: OwnedWindow) -> None:
        """Add all voxels that a window owns, except ignored ones.

        Args:
            window: a window of any case.
        """
        self.add(*counted(window.softmax.flatten(1).T, window.labels.reshape(-1)))

    def end(self, case: str) -> None:
        """Nothing to finish for a case."""

    def merge(self, other: Self) -> Self:
        """Add two histograms.

        Args:
            other: histogram with the same k and z.

        Returns:
            A new statistic.

        Raises:
            ValueError: if k or z differ.
        """
        if self.soft.shape != other.soft.shape:
            raise ValueError(f"`other` must have (k, z) {tuple(self.soft.shape)}, got {tuple(other.soft.shape)}")
        merged = type(self)(self.k, self.z, backend=self.backend)
        merged.soft, merged.hard = self.soft + other.soft, self.hard + other.hard
        merged.count = self.count + other.count
        return merged

    def widened(self, k: int) -> Self:
        """Append empty target classes.

        Args:
            k: new number of target classes, not smaller than the current one.

        Returns:
            A new statistic.
        """
        wider = type(self)(k, self.z)
        for mine, theirs in ((wider.soft, self.soft), (wider.hard, self.hard), (wider.count, self.count)):
            mine[: self.k] = theirs
        return wider

    def save(self, folder: Path) -> None:
        """Write `joint.safetensors`.

        Args:
            folder: an existing folder.
        """
        tensors = {"soft": self.soft, "hard": self.hard, "count": self.count}
        write_tensors(folder / "joint.safetensors", tensors)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: folder with `joint.safetensors`.

        Returns:
            The statistic.
        """
        tensors = read_tensors(folder / "joint.safetensors")
        histogram = cls(*tensors["soft"].shape)
        histogram.soft, histogram.hard, histogram.count = tensors["soft"], tensors["hard"], tensors["count"]
        return histogram


@dataclass(frozen=True)
class JointRequest:
    """Requests the joint histogram of target labels and source predictions over all voxels."""

    kind: ClassVar[type] = JointHistogram

    def start(self, scene: PassContext) -> JointHistogram:
        """An empty statistic.

        Args:
            scene: context of the pass.

        Returns:
            A histogram of k target and z source classes.
        """
        return JointHistogram(scene.k, scene.z, backend=scene.backend)
