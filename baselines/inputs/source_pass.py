"""Base of the estimates that look at the source's own data too: a second pass through the same network."""

from abc import ABC, abstractmethod
from typing import ClassVar

from baselines.inputs.arrays import undefined
from benchmark.metric.score import Score
from benchmark.statistics import BalancedPointsRequest, PointSample, Request, Statistics


class SourcePassMetric(ABC):
    """An estimate of points of the target and of the source's data: a subclass has `name` and `_score(target, source)`.

    Args:
        count: most points of each, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("source",)

    def __init__(self, *, count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        self.request = BalancedPointsRequest(count=count, layer=layer, seed=seed)

    @property
    def requires(self) -> tuple[Request, ...]:
        """One class-balanced sample of points, of the target and of the source's data."""
        return (self.request,)

    @abstractmethod
    def _score(self, target: PointSample, source: PointSample) -> Score:
        """The score of two samples that are not empty."""

    def compute(self, statistics: Statistics, *, source: Statistics | None = None) -> Score:
        """The score of a pass over a target and one over the source's own data.

        Args:
            statistics: of the target.
            source: of the source's data through the same network.

        Returns:
            The score; NaN without the second pass.
        """
        if source is None:
            return undefined("needs a pass over the source's own data")
        here, there = statistics[self.request], source[self.request]
        if here.table is None or there.table is None:
            return undefined("no samples")
        return self._score(here, there)
