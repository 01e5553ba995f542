"""The two requests that CasePoints answers: points of each class and case, and points of each case."""

from dataclasses import dataclass
from typing import ClassVar

from benchmark.statistics.case_points import CasePoints
from benchmark.statistics.protocol import PassContext


@dataclass(frozen=True)
class CasePointsRequest:
    """Asks for features at points of each class, background included, of each case.

    Attributes:
        counts: most points a class, of each layer, coarse to fine, the last one being tap -1. A network with fewer taps
            uses the last counts.
        seed: of the sampling.
    """

    kind: ClassVar[type] = CasePoints
    counts: tuple[int, ...] = (100, 200, 400)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"`counts` must be positive and at least one, got {self.counts}")

    def start(self, scene: PassContext) -> CasePoints:
        """An empty statistic.

        Args:
            scene: of the stream.

        Returns:
            Points of its k classes.
        """
        counts = self.counts[-len(scene.taps) :]
        return CasePoints(counts=counts, groups=tuple(range(scene.k)), seed=self.seed, folder=scene.folder)


@dataclass(frozen=True)
class ScenePointsRequest:
    """Asks for features at points uniform over the voxels of each case.

    Attributes:
        count: most points a case.
        layers: how many of the finest taps, or as many as there are.
        seed: of the sampling.
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
            scene: of the stream.

        Returns:
            Points of the whole image.
        """
        counts = (self.count,) * min(self.layers, len(scene.taps))
        return CasePoints(counts=counts, groups=(None,), seed=self.seed, folder=scene.folder)
