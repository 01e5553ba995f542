"""ClassMoments: moments of the features of each class, for all metrics based on class Gaussians."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.backend import Backend
from benchmark.core.labels import counted
from benchmark.core.moments import Moments, class_moments, merge_moments
from benchmark.statistics.protocol import OwnedWindow, PassContext
from benchmark.storage.files import read_tensors, write_tensors

Array: TypeAlias = NDArray[Any] | Tensor

FIELDS = tuple(field.name for field in fields(Moments))


class ClassMoments:
    """Count, mean, scatter, cubes and quartics of k classes over any number of voxels, in float64.

    Stores k (d^2 + 2 d) numbers. `merge` equals one pass over both up to float64 rounding.

    Args:
        k: number of classes.
        layer: tap that `update` reads; -1 is the finest.
        backend: "auto", "torch" or "triton".

    Example:
        >>> moments = ClassMoments(2)
        >>> moments.add(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]))
        >>> moments.add(torch.tensor([[8.0], [4.0]]), torch.tensor([0, 1]))
        >>> moments.count.tolist(), moments.mean.ravel().tolist(), moments.scatter.ravel().tolist()
        ([3, 1], [4.0, 4.0], [26.0, 0.0])
    """

    def __init__(self, k: int, *, layer: int = -1, backend: Backend = "auto") -> None:
        self.layer = layer
        self.backend: Backend = backend
        self._moments = _empty(k, 0)

    @classmethod
    def from_samples(cls, features: Array, labels: Array, k: int) -> Self:
        """Compute the moments of arrays.

        Args:
            features: (n, d) real numbers, numpy or torch.
            labels: (n,) integers in 0 .. k - 1.
            k: number of classes.

        Returns:
            The moments.

        Raises:
            ValueError: if a shape, a type or a label is invalid.
        """
        moments = cls(k)
        moments.add(features, labels)
        return moments

    @property
    def k(self) -> int:
        """Number of classes."""
        return self._moments.mean.shape[0]

    @property
    def d(self) -> int:
        """Feature dimensions; 0 before any rows are added."""
        return self._moments.mean.shape[1]

    @property
    def n(self) -> int:
        """Number of rows over all classes."""
        return int(self.count.sum())

    @property
    def count(self) -> Tensor:
        """Number of rows of each class, (k,) int64."""
        return self._moments.count

    @property
    def mean(self) -> Tensor:
        """Class means, (k, d) float64; 0 for a class without rows."""
        return self._moments.mean

    @property
    def scatter(self) -> Tensor:
        """Sum of (x - mean)(x - mean)', (k, d, d) float64."""
        return self._moments.scatter

    @property
    def cubes(self) -> Tensor:
        """Sum of |x - mean|^2 (x - mean), (k, d) float64."""
        return self._moments.cubes

    @property
    def quartics(self) -> Tensor:
        """Sum of |x - mean|^4, (k,) float64."""
        return self._moments.quartics

    def add(self, features: Array, labels: Array) -> None:
        """Add rows.

        Args:
            features: (n, d) real numbers, numpy or torch; same d in every call.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape, a type or a label is invalid.
        """
        rows = torch.as_tensor(features)
        rows = rows if rows.is_floating_point() else rows.double()
        self._take(class_moments(rows, torch.as_tensor(labels, device=rows.device), self.k, backend=self.backend))

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Nothing to prepare for a case."""

    def update(self, window: OwnedWindow) -> None:
        """Add all voxels that a window owns, except ignored ones.

        Args:
            window: a window of any case.
        """
        self.add(*counted(window.dense(self.layer), window.labels.reshape(-1)))

    def end(self, case: str) -> None:
        """Nothing to finish for a case."""

    def merge(self, other: Self) -> Self:
        """Merge two sets of moments.

        Args:
            other: moments with the same k and, unless either is empty, the same d.

        Returns:
            A new statistic.

        Raises:
            ValueError: if k or d differ.
        """
        merged = type(self)(self.k, layer=self.layer, backend=self.backend)
        merged._moments = self._moments
        merged._take(other._moments)
        return merged

    def widened(self, k: int) -> Self:
        """Append empty classes.

        Args:
            k: new number of classes, not smaller than the current one.

        Returns:
            A new statistic.
        """
        wider = type(self)(k, layer=self.layer)
        empty = _empty(k - self.k, self.d)
        joined = (torch.cat([getattr(self._moments, name), getattr(empty, name)]) for name in FIELDS)
        wider._moments = Moments(*joined)
        return wider

    def total(self) -> Self:
        """Merge all classes into one, k = 1.

        Returns:
            A new statistic.
        """
        pooled = type(self)(1, layer=self.layer)
        for label in range(self.k):
            pooled._take(_slice(self._moments, label))
        return pooled

    def save(self, folder: Path) -> None:
        """Write `moments.safetensors`.

        Args:
            folder: an existing folder.
        """
        tensors = {name: getattr(self._moments, name) for name in FIELDS}
        write_tensors(folder / "moments.safetensors", tensors | {"layer": torch.tensor(self.layer)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: folder with `moments.safetensors`.

        Returns:
            The statistic.
        """
        tensors = read_tensors(folder / "moments.safetensors")
        moments = cls(len(tensors["count"]), layer=int(tensors.pop("layer")))
        moments._moments = Moments(**tensors)
        return moments

    def _take(self, other: Moments) -> None:
        arrived = Moments(*(getattr(other, name).cpu() for name in FIELDS))
        if self.d == 0:
            self._moments = merge_moments(_empty(self.k, arrived.mean.shape[1]), arrived)
        elif arrived.mean.shape != (self.k, 0):
            self._moments = merge_moments(self._moments, arrived)


@dataclass(frozen=True)
class ClassMomentsRequest:
    """Requests the class moments of one layer over all voxels.

    Attributes:
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    kind: ClassVar[type] = ClassMoments
    layer: int = -1

    def start(self, scene: PassContext) -> ClassMoments:
        """An empty statistic.

        Args:
            scene: context of the pass.

        Returns:
            An empty statistic for the k classes.
        """
        return ClassMoments(scene.k, layer=self.layer, backend=scene.backend)


def _empty(k: int, d: int) -> Moments:
    return Moments(
        count=torch.zeros(k, dtype=torch.int64),
        mean=torch.zeros(k, d, dtype=torch.float64),
        scatter=torch.zeros(k, d, d, dtype=torch.float64),
        cubes=torch.zeros(k, d, dtype=torch.float64),
        quartics=torch.zeros(k, dtype=torch.float64),
    )


def _slice(moments: Moments, label: int) -> Moments:
    return Moments(*(getattr(moments, name)[label : label + 1] for name in FIELDS))
