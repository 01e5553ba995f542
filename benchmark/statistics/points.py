"""PointSample: a class-balanced sample of voxels over all cases, with features and the source's logits."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.statistics.point_table import PointTable
from benchmark.statistics.protocol import OwnedWindow, PassContext
from benchmark.statistics.voxel_sampling import draw_voxels, inside, on_boundary
from benchmark.storage.files import read_json, read_tensors, write_json, write_tensors

Array: TypeAlias = NDArray[Any] | Tensor


class PointSample:
    """Up to `quota` voxels of each class, sampled uniformly over all voxels of that class in all cases.

    Only the sample is kept in memory. It does not depend on windows, order of cases or merges (see `voxel_sampling`).

    Args:
        k: number of classes.
        quota: maximum number of voxels per class.
        layer: tapped layer; -1 is the finest.
        seed: seed of the sampling.

    Attributes:
        table: the sampled voxels; None before the first.
        names: names of the cases.
    """

    def __init__(self, *, k: int, quota: int, layer: int = -1, seed: int = 0) -> None:
        self.k = k
        self.quota = quota
        self.layer = layer
        self.seed = seed
        self.names: tuple[str, ...] = ()
        self.table: PointTable | None = None
        self._open: PointTable | None = None

    @classmethod
    def from_samples(cls, features: Array, labels: Array, *, logits: Array | None = None) -> Self:
        """Create a sample that contains all rows of arrays.

        Args:
            features: (n, d) real numbers.
            labels: (n,) integers in 0 .. k - 1.
            logits: (n, z) logits of the source.

        Returns:
            The sample.

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
        everything = PointTable(rows, scores, targets, places * 0, positions, boundary, places.double())
        sample.names, sample.table = ("",), everything.smallest(n, sample.k)
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
    def softmax(self) -> Tensor:
        """Softmax of the source, (n, z) float32."""
        return self._rows().logits.softmax(dim=1)

    @property
    def boundary(self) -> Tensor:
        """Whether a face neighbour of the voxel has another class, (n,) bool."""
        return self._rows().boundary

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Choose the voxels of a case that may enter the sample.

        Args:
            case: name of the case.
            labels: (D, H, W) integers.
            seen: (D, H, W) bool, the voxels that windows will cover; None for all.

        Raises:
            ValueError: if the case was added before.
        """
        if case in self.names:
            raise ValueError(f"`case` must be new, got {case!r} twice")
        draws = [
            draw_voxels(labels, label, self.quota, seed=self.seed, case=case, seen=seen) for label in range(self.k)
        ]
        positions = torch.cat([draw.positions for draw in draws])
        n = len(positions)
        chosen = PointTable(
            features=torch.zeros(n, 0),
            logits=torch.zeros(n, 0),
            labels=torch.repeat_interleave(
                torch.arange(self.k), torch.tensor([len(draw.priorities) for draw in draws])
            ),
            cases=torch.full((n,), len(self.names)),
            positions=positions,
            boundary=on_boundary(labels.cpu(), positions),
            priorities=torch.cat([draw.priorities for draw in draws]),
        )
        self.names += (case,)
        self._open = chosen if self.table is None else self._below_limits(chosen)

    def update(self, window: OwnedWindow) -> None:
        """Add the chosen voxels that a window owns.

        Args:
            window: a window of the current case.
        """
        if self._open is None:
            raise RuntimeError("PointSample: `begin` must be called before `update`")
        owned = inside(self._open.positions, window.start, tuple(window.labels.shape))
        arrived = self._open.take(owned)
        if len(arrived.labels):
            local = arrived.positions - torch.tensor(window.start)
            logits = window.logits[(slice(None), *local.to(window.logits.device).T)].T.float().cpu()
            features = window.at(self.layer, arrived.positions).float().cpu()
            self._take(replace(arrived, features=features, logits=logits))

    def end(self, case: str) -> None:
        """Discard the remaining chosen voxels of the current case.

        Args:
            case: name of the current case.
        """
        self._open = None

    def merge(self, other: Self) -> Self:
        """Merge two samples.

        Args:
            other: sample of other cases, drawn with the same settings.

        Returns:
            A new statistic.

        Raises:
            ValueError: if the sampling settings differ, or a case is in both.
        """
        if (self.k, self.quota, self.layer, self.seed) != (other.k, other.quota, other.layer, other.seed):
            raise ValueError("`other` must be sampled with the same k, quota, layer and seed")
        if both := sorted(set(self.names) & set(other.names)):
            raise ValueError(f"`other` must not share cases, got {both} in both")
        merged = type(self)(k=self.k, quota=self.quota, layer=self.layer, seed=self.seed)
        merged.names, merged.table = self.names + other.names, self.table
        if other.table is not None:
            merged._take(replace(other.table, cases=other.table.cases + len(self.names)))
        return merged

    def save(self, folder: Path) -> None:
        """Write the sampled voxels and the sampling settings.

        Args:
            folder: an existing folder.
        """
        values = {"k": self.k, "quota": self.quota, "layer": self.layer, "seed": self.seed, "names": self.names}
        write_tensors(folder / "points.safetensors", {} if self.table is None else vars(self.table))
        write_json(folder / "points.json", values)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: folder with `points.safetensors` and `points.json`.

        Returns:
            The statistic.
        """
        values = read_json(folder / "points.json")
        names = tuple(values.pop("names"))
        sample = cls(**values)
        tensors = read_tensors(folder / "points.safetensors")
        sample.names, sample.table = names, PointTable(**tensors) if tensors else None
        return sample

    def _rows(self) -> PointTable:
        if self.table is None:
            raise ValueError("the sample is empty")
        return self.table

    def _below_limits(self, chosen: PointTable) -> PointTable:
        limits = self._rows().limits(self.quota, self.k)
        return chosen.take(chosen.priorities < limits[chosen.labels])

    def _take(self, arrived: PointTable) -> None:
        together = arrived if self.table is None else self.table.joined(arrived)
        self.table = together.smallest(self.quota, self.k)


@dataclass(frozen=True)
class BalancedPointsRequest:
    """Requests a class-balanced sample over all cases.

    Attributes:
        count: maximum number of voxels; each of the k classes contributes up to count // k.
        layer: tapped layer; -1 is the finest.
        seed: seed of the sampling.
    """

    kind: ClassVar[type] = PointSample
    count: int = 2000
    layer: int = -1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"`count` must be positive, got {self.count}")

    def start(self, scene: PassContext) -> PointSample:
        """An empty statistic.

        Args:
            scene: context of the pass.

        Returns:
            An empty sample for the k classes.
        """
        return PointSample(k=scene.k, quota=max(self.count // scene.k, 1), layer=self.layer, seed=self.seed)
