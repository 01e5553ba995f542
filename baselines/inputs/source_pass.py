"""Base class of the estimates that need a second pass, over the source's own data."""

from abc import ABC, abstractmethod
from typing import ClassVar

from baselines.inputs.arrays import undefined
from benchmark.metric.score import Score
from benchmark.statistics import BalancedPointsRequest, PointSample, Request, Statistics


class SourcePassMetric(ABC):
    """Base of the estimates computed from points of the target and the source's own data.

    Subclasses define `name` and `_score(target, source)`.

    Args:
        count: maximum number of points from each, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(self, *, count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        self.request = BalancedPointsRequest(count=count, layer=layer, seed=seed)

    @property
    def requires(self) -> tuple[Request, ...]:
        """A class-balanced sample of points, from the target and from the source's data."""
        return (self.request,)

    @abstractmethod
    def _score(self, target: PointSample, source: PointSample) -> Score:
        """Compute the score from two non-empty samples."""

    def compute(self, statistics: Statistics, *, source: Statistics | None = None) -> Score:
        """Compute the score from a pass over the target and one over the source's own data.

        Args:
            statistics: statistics of the target.
            source: statistics of the source's data, from the same network.

        Returns:
            The score; NaN without the second pass.
        """
        if source is None:
            return undefined("needs a pass over the source's own data")
        target_points, source_points = statistics[self.request], source[self.request]
        if target_points.table is None or source_points.table is None:
            return undefined("no samples")
        return self._score(target_points, source_points)
