"""ClassMoments: moments of the features of each class, for all metrics based on class Gaussians."""

from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmark.core.backend import Backend
from benchmark.core.labels import counted
from benchmark.core.moments import Moments, class_moments, merge_moments
from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Statistic
from benchmark.storage.files import read_tensors, write_tensors


class ClassMoments(Statistic):
    """Count, mean, scatter, cubes and quartics of k classes over any number of voxels, in float64.

    Stores k (d^2 + 2 d) numbers. `merge` equals one pass over both up to float64 rounding.

    Args:
        k: number of classes.
        layer: tap that `update` reads; -1 is the finest.
        backend: "auto", "torch" or "triton".

    Attributes:
        count: (k,) int64, number of rows of each class.
        mean: (k, d) float64, 0 for a class without rows.
        scatter: (k, d, d) float64, sum of (x - mean)(x - mean)'.
        cubes: (k, d) float64, sum of |x - mean|^2 (x - mean).
        quartics: (k,) float64, sum of |x - mean|^4.

    Example:
        >>> moments = ClassMoments(2)
        >>> moments.add(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]))
        >>> moments.add(torch.tensor([[8.0], [4.0]]), torch.tensor([0, 1]))
        >>> moments.count.tolist(), moments.mean.ravel().tolist(), moments.scatter.ravel().tolist()
        ([3, 1], [4.0, 4.0], [26.0, 0.0])
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor
    cubes: Tensor
    quartics: Tensor

    def __init__(self, k: int, *, layer: int = -1, backend: Backend = "auto") -> None:
        self.layer = layer
        self.backend: Backend = backend
        self._store(_empty(k, 0))

    @classmethod
    def from_samples(cls, features: Array, labels: Array, k: int) -> Self:
        """Compute the moments of arrays; `features` and `labels` as in `add`, `k` classes."""
        moments = cls(k)
        moments.add(features, labels)
        return moments

    @property
    def k(self) -> int:
        """Number of classes."""
        return self.mean.shape[0]

    @property
    def d(self) -> int:
        """Feature dimensions; 0 before any rows are added."""
        return self.mean.shape[1]

    @property
    def n(self) -> int:
        """Number of rows over all classes."""
        return int(self.count.sum())

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
        self._add(class_moments(rows, torch.as_tensor(labels, device=rows.device), self.k, backend=self.backend))

    def update(self, window: OwnedWindow) -> None:
        """Add all voxels that a window owns, except ignored ones."""
        self.add(*counted(window.dense(self.layer), window.labels.reshape(-1)))

    def merge(self, other: Self) -> Self:
        """Merge two sets of moments into a new one.

        Raises:
            ValueError: if k differs, or d differs and neither is empty.
        """
        merged = copy(self)
        merged._add(other._moments())
        return merged

    def widened(self, k: int) -> Self:
        """Append empty classes, up to `k` of them in total, in a new statistic."""
        wider = copy(self)
        empty = vars(_empty(k - self.k, self.d))
        wider._store(Moments(**{name: torch.cat([own, empty[name]]) for name, own in vars(self._moments()).items()}))
        return wider

    def total(self) -> Self:
        """Merge all classes into one, k = 1, in a new statistic."""
        pooled = type(self)(1, layer=self.layer)
        fields = vars(self._moments()).items()
        for label in range(self.k):
            pooled._add(Moments(**{name: tensor[label : label + 1] for name, tensor in fields}))
        return pooled

    def save(self, folder: Path) -> None:
        """Write `moments.safetensors`."""
        write_tensors(folder / "moments.safetensors", vars(self._moments()) | {"layer": torch.tensor(self.layer)})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        tensors = read_tensors(folder / "moments.safetensors")
        moments = cls(len(tensors["count"]), layer=int(tensors.pop("layer")))
        moments._store(Moments(**tensors))
        return moments

    def _moments(self) -> Moments:
        return Moments(self.count, self.mean, self.scatter, self.cubes, self.quartics)

    def _store(self, moments: Moments) -> None:
        for name, tensor in vars(moments).items():
            setattr(self, name, tensor)

    def _add(self, other: Moments) -> None:
        arrived = Moments(**{name: tensor.cpu() for name, tensor in vars(other).items()})
        if self.d == 0:
            self._store(merge_moments(_empty(self.k, arrived.mean.shape[1]), arrived))
        elif arrived.mean.shape != (self.k, 0):
            self._store(merge_moments(self._moments(), arrived))


@dataclass(frozen=True)
class ClassMomentsRequest:
    """Requests the class moments of one layer over all voxels.

    Attributes:
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    kind: ClassVar[type[Statistic]] = ClassMoments
    layer: int = -1

    def start(self, context: PassContext) -> ClassMoments:
        """An empty statistic for the k classes."""
        return ClassMoments(context.k, layer=self.layer, backend=context.backend)


def _empty(k: int, d: int) -> Moments:
    zeros = (torch.zeros(k, *shape, dtype=torch.float64) for shape in ((d,), (d, d), (d,), ()))
    return Moments(torch.zeros(k, dtype=torch.int64), *zeros)
