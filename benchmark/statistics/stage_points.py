"""StageSample: a class-balanced sample of voxels over all cases, with the features of every stage of a network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmark.statistics.points import PointSample, PointTable
from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Statistic

MOST = 4000  # voxels of all classes together


class StageSample(PointSample):
    """Up to `quota` voxels of each class, as `PointSample`, with the features of all stages next to each other.

    Args:
        k: number of classes.
        quota: maximum number of voxels per class.
        seed: seed of the sampling.
        encoder: module and channels of each of the encoder's stages, fine to coarse.
        decoder: module and channels of each of the decoder's stages, coarse to fine.
        absent: why one of them is empty.
    """

    settings = ("k", "quota", "seed", "encoder", "decoder", "absent")

    def __init__(
        self,
        *,
        k: int,
        quota: int,
        seed: int = 0,
        encoder: Iterable[tuple[str, int]] = (),
        decoder: Iterable[tuple[str, int]] = (),
        absent: str = "",
    ) -> None:
        super().__init__(k=k, quota=quota, seed=seed)
        self.encoder = tuple((name, width) for name, width in encoder)  # JSON has lists, and keeps no order of names
        self.decoder = tuple((name, width) for name, width in decoder)
        self.absent = absent

    @classmethod
    def from_stages(
        cls, labels: Array, *, encoder: Mapping[str, Array], decoder: Mapping[str, Array], boundary: Array
    ) -> Self:
        """Create a sample that contains all rows of arrays.

        Args:
            labels: (n,) integers in 0 .. k - 1.
            encoder: (n, d) features of each stage, fine to coarse; d may differ.
            decoder: the same, coarse to fine.
            boundary: (n,) bool, whether a voxel has a neighbour of another class.

        Example:
            >>> a, b = torch.zeros(3, 2), torch.ones(3, 4)
            >>> sample = StageSample.from_stages(
            ...     torch.tensor([1, 0, 1]), encoder={"a": a}, decoder={"b": b}, boundary=torch.ones(3))
            >>> sample.stage("b").shape, sample.encoder
            (torch.Size([3, 4]), (('a', 2),))
        """
        stages = {name: torch.as_tensor(rows) for name, rows in {**encoder, **decoder}.items()}
        widths = {name: rows.shape[1] for name, rows in stages.items()}
        targets = torch.as_tensor(labels).long()
        n = len(targets)
        sample = cls(
            k=int(targets.max()) + 1,
            quota=n,
            encoder=[(name, widths[name]) for name in encoder],
            decoder=[(name, widths[name]) for name in decoder],
        )
        places, no_logits = torch.arange(n), torch.zeros(n, 0)
        rows = torch.cat([torch.zeros(n, 0), *stages.values()], dim=1)
        positions, edge = torch.zeros(n, 3, dtype=torch.int64), torch.as_tensor(boundary).bool()
        sample._add(PointTable(rows, no_logits, targets, places * 0, positions, edge, places.double()))
        sample.cases = ("",)
        return sample

    def stage(self, name: str) -> Tensor:
        """Features (n, d) float32 of a stage."""
        columns = torch.split(self.features, list(self._widths.values()), dim=1)
        return dict(zip(self._widths, columns, strict=True))[name]

    @property
    def _widths(self) -> dict[str, int]:
        """Stage -> its channels, in the order of the columns of the features."""
        return dict((*self.encoder, *self.decoder))

    def _features(self, window: OwnedWindow, positions: Tensor) -> Tensor:
        rows = [window.at_stage(name, positions) for name in self._widths]
        return torch.cat(rows, dim=1) if rows else torch.zeros(len(positions), 0)


@dataclass(frozen=True)
class StagePointsRequest:
    """Requests a class-balanced sample over all cases with the features of all stages of the network.

    All classes together have at most 4,000 voxels, since a spanning tree takes time and memory that grow as the square
    of their number: of k classes each has at most 4000 // k. A metric with this request has the class attribute
    `reads_stages = True`, for its job's key.

    Attributes:
        class_count: maximum number of voxels of each class.
        seed: seed of the sampling.
    """

    kind: ClassVar[type[Statistic]] = StageSample
    class_count: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        if self.class_count < 1:
            raise ValueError(f"`class_count` must be positive, got {self.class_count}")

    def start(self, context: PassContext) -> StageSample:
        """An empty sample for the k classes."""
        return StageSample(
            k=context.k,
            quota=max(1, min(self.class_count, MOST // context.k)),
            seed=self.seed,
            encoder=context.encoder.items(),
            decoder=context.decoder.items(),
            absent=context.absent,
        )
