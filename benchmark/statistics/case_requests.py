"""Requests for CasePoints: points per class and case, and points per case."""

from dataclasses import dataclass
from typing import ClassVar

from benchmark.statistics.case_points import CasePoints
from benchmark.statistics.protocol import PassContext


@dataclass(frozen=True)
class CasePointsRequest:
    """Requests features at points of each class, background included, in each case.

    Attributes:
        counts: maximum number of points per class for each layer, coarse to fine; the last is tap -1. A network with
            fewer taps uses the last counts.
        seed: seed of the sampling.
    """

    kind: ClassVar[type] = CasePoints
    counts: tuple[int, ...] = (100, 200, 400)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"`counts` must be positive and not empty, got {self.counts}")

    def start(self, scene: PassContext) -> CasePoints:
        """An empty statistic.

        Args:
            scene: context of the pass.

        Returns:
            An empty statistic for the k classes.
        """
        counts = self.counts[-len(scene.taps) :]
        return CasePoints(counts=counts, groups=tuple(range(scene.k)), seed=self.seed, folder=scene.folder)


@dataclass(frozen=True)
class ScenePointsRequest:
    """Requests features at points sampled uniformly over the voxels of each case.

    Attributes:
        count: maximum number of points per case.
        layers: maximum number of taps, counted from the finest.
        seed: seed of the sampling.
    """

    kind: ClassVar[type] = CasePoints
    count: int = 1000
    layers: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.layers < 1:
            raise ValueError(f"`count` and `layers` must be positive, got {self.count} and {self.layers}")

    def start(self, scene: PassContext) -> CasePoints:
        """An empty statistic.

        Args:
            scene: context of the pass.

        Returns:
            An empty statistic for the whole image.
        """
        counts = (self.count,) * min(self.layers, len(scene.taps))
        return CasePoints(counts=counts, groups=(None,), seed=self.seed, folder=scene.folder)
