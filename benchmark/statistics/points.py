"""PointSample: a class-balanced sample of voxels over all cases, with features and the source's logits."""

from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Statistic, VoxelArray, check_mergeable
from benchmark.statistics.voxel_sampling import draw_voxels, inside, on_boundary
from benchmark.storage.files import read_json, read_tensors, write_json, write_tensors


@dataclass(frozen=True)
class PointTable:
    """Sampled voxels, sorted by class and priority.

    Attributes:
        features: (n, d) float32.
        logits: (n, z) float32, of the source; (n, 0) without a head.
        labels: (n,) int64.
        cases: (n,) int64, indices into the sample's cases.
        positions: (n, 3) int64 voxel coordinates.
        boundary: (n,) bool, whether a face neighbour has another class.
        priorities: (n,) float64.
    """

    features: Tensor
    logits: Tensor
    labels: Tensor
    cases: Tensor
    positions: Tensor
    boundary: Tensor
    priorities: Tensor

    def take(self, rows: Tensor) -> Self:
        """Select rows (n,), int64 or bool."""
        return type(self)(*(column[rows] for column in vars(self).values()))

    def joined(self, other: Self) -> Self:
        """Append the rows of a table with the same d and z."""
        return type(self)(
            *(torch.cat(columns) for columns in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    def smallest(self, quota: int, k: int) -> Self:
        """Keep up to `quota` rows of smallest priority in each of k classes, sorted by class and priority."""
        ordered = self.take(torch.argsort(self.priorities, stable=True))
        kept = [torch.nonzero(ordered.labels == label).squeeze(1)[:quota] for label in range(k)]
        return ordered.take(torch.cat(kept) if kept else torch.zeros(0, dtype=torch.int64))

    def limits(self, quota: int, k: int) -> Tensor:
        """Priority below which a row would enter the table, (k,) float64; inf for a class with fewer than `quota`."""
        classes = [self.priorities[self.labels == label] for label in range(k)]
        return torch.stack([own.max() if len(own) >= quota else own.new_tensor(torch.inf) for own in classes])


class PointSample(Statistic):
    """Up to `quota` voxels of each class, sampled uniformly over all voxels of that class in all cases.

    Only the sample is kept in memory. It does not depend on windows, order of cases or merges (see `voxel_sampling`).

    Args:
        k: number of classes.
        quota: maximum number of voxels per class.
        layer: tapped layer; -1 is the finest.
        seed: seed of the sampling.

    Attributes:
        table: the sampled voxels; None before the first.
        cases: names of the cases.
    """

    settings: ClassVar[tuple[str, ...]] = ("k", "quota", "layer", "seed")

    def __init__(self, *, k: int, quota: int, layer: int = -1, seed: int = 0) -> None:
        self.k = k
        self.quota = quota
        self.layer = layer
        self.seed = seed
        self.table: PointTable | None = None

    @classmethod
    def from_samples(cls, features: Array, labels: Array, *, logits: Array | None = None) -> Self:
        """Create a sample that contains all rows of arrays.

        Args:
            features: (n, d) real numbers.
            labels: (n,) integers in 0 .. k - 1.
            logits: (n, z) logits of the source.

        Raises:
            ValueError: if the lengths differ.

        Example:
            >>> sample = PointSample.from_samples(torch.zeros(3, 2), torch.tensor([1, 0, 1]))
            >>> sample.labels.tolist(), sample.k
            ([0, 1, 1], 2)
        """
        targets, rows = torch.as_tensor(labels).long(), torch.as_tensor(features)
        n = len(targets)
        scores = torch.zeros(n, 0) if logits is None else torch.as_tensor(logits)
        if len(rows) != n or len(scores) != n:
            raise ValueError(f"`features` and `logits` must have {n} rows, got {len(rows)} and {len(scores)}")
        sample = cls(k=int(targets.max()) + 1 if n else 0, quota=n)
        places = torch.arange(n)
        positions, boundary = torch.zeros(n, 3, dtype=torch.int64), torch.zeros(n, dtype=torch.bool)
        sample._add(PointTable(rows, scores, targets, places * 0, positions, boundary, places.double()))
        sample.cases = ("",)
        return sample

    @property
    def features(self) -> Tensor:
        """Features, (n, d) float32."""
        return self._rows().features

    @property
    def labels(self) -> Tensor:
        """Labels, (n,) int64."""
        return self._rows().labels

    @property
    def logits(self) -> Tensor:
        """Logits of the source, (n, z) float32."""
        return self._rows().logits

    @property
    def boundary(self) -> Tensor:
        """Whether a face neighbour of the voxel has another class, (n,) bool."""
        return self._rows().boundary

    def begin(self, case: str, labels: VoxelArray, *, seen: VoxelArray | None = None) -> None:
        """Choose the voxels of a case that may enter the sample."""
        super().begin(case, labels)
        draws = draw_voxels(labels, range(self.k), self.quota, seed=self.seed, case=case, seen=seen)
        positions = torch.cat([draw.positions for draw in draws])
        n = len(positions)
        chosen = PointTable(
            features=torch.zeros(n, 0),
            logits=torch.zeros(n, 0),
            labels=torch.cat([torch.full((len(draw.priorities),), label) for label, draw in enumerate(draws)]),
            cases=torch.full((n,), len(self.cases)),
            positions=positions,
            boundary=on_boundary(labels, positions),
            priorities=torch.cat([draw.priorities for draw in draws]),
        )
        if self.table is not None:
            chosen = chosen.take(chosen.priorities < self.table.limits(self.quota, self.k)[chosen.labels])
        self.cases += (case,)
        self._open = chosen

    def update(self, window: OwnedWindow) -> None:
        """Add the chosen voxels that a window owns."""
        chosen: PointTable = self._opened()
        arrived = chosen.take(inside(chosen.positions, window.start, tuple(window.labels.shape)))
        if len(arrived.labels):
            logits = window.logits_at(arrived.positions).cpu()
            features = self._features(window, arrived.positions).float().cpu()
            self._add(replace(arrived, features=features, logits=logits))

    def merge(self, other: Self) -> Self:
        """Merge two samples into a new one.

        Raises:
            ValueError: if the sampling settings differ, or a case is in both.
        """
        check_mergeable(self, other, self.settings)
        merged = copy(self)
        if other.table is not None:
            merged._add(replace(other.table, cases=other.table.cases + len(self.cases)))
        merged.cases += other.cases
        return merged

    def save(self, folder: Path) -> None:
        """Write the sampled voxels and the sampling settings."""
        write_tensors(folder / "points.safetensors", {} if self.table is None else vars(self.table))
        write_json(folder / "points.json", self._values() | {"names": self.cases})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        values = read_json(folder / "points.json")
        cases = tuple(values.pop("names"))
        sample = cls(**values)
        tensors = read_tensors(folder / "points.safetensors")
        sample.cases, sample.table = cases, PointTable(**tensors) if tensors else None
        return sample

    def with_table(self, table: PointTable) -> Self:
        """A sample with the same settings, without names of cases, that contains the given voxels."""
        sample = copy(self)
        sample.cases, sample.table = (), table
        return sample

    def _features(self, window: OwnedWindow, positions: Tensor) -> Tensor:
        """Features (n, d) at positions (n, 3) that a window owns."""
        return window.at(self.layer, positions)

    def _rows(self) -> PointTable:
        if self.table is None:
            raise ValueError("the sample is empty")
        return self.table

    def _add(self, arrived: PointTable) -> None:
        self.table = (arrived if self.table is None else self.table.joined(arrived)).smallest(self.quota, self.k)


@dataclass(frozen=True)
class BalancedPointsRequest:
    """Requests a class-balanced sample over all cases.

    Attributes:
        count: maximum number of voxels; each of the k classes contributes up to count // k.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    kind: ClassVar[type[Statistic]] = PointSample
    count: int = 2000
    layer: int = -1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"`count` must be positive, got {self.count}")

    def start(self, context: PassContext) -> PointSample:
        """An empty sample for the k classes."""
        return PointSample(k=context.k, quota=max(self.count // context.k, 1), layer=self.layer, seed=self.seed)
