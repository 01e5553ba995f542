"""Base class of the estimates computed from a class-balanced sample of voxels over all cases."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np

from baselines.inputs.arrays import Array, Samples, read_samples, undefined
from benchmark.metric.score import Score
from benchmark.statistics import BalancedPointsRequest, PointSample, Request, Statistics


class PointMetric(ABC):
    """Base of the estimates computed from sampled points; subclasses define `name` and `_score(samples)`.

    Metrics with the same `count`, `layer` and `seed` share one sample.

    Args:
        count: maximum number of points, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    name: ClassVar[str]
    row_name: ClassVar[str] = "features"
    reads: ClassVar[str] = "features"

    def __init__(self, *, count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        self.count = count
        self.layer = layer
        self.seed = seed
        self._samples: Samples | None = None

    @property
    def requires(self) -> tuple[Request, ...]:
        """A class-balanced sample of points."""
        return (BalancedPointsRequest(count=self.count, layer=self.layer, seed=self.seed),)

    @abstractmethod
    def _score(self, samples: Samples) -> Score:
        """Compute the score from validated samples."""

    def _read(self, points: PointSample) -> Samples:
        return read_samples(points.features, points.labels)

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score from the statistics of a pass, or from the samples given to `update`.

        Args:
            statistics: the statistics named by `requires`; None to use the samples given to `update`.

        Returns:
            The score.
        """
        if statistics is None:
            return undefined("no samples") if self._samples is None else self._score(self._samples)
        points: PointSample = statistics[self.requires[0]]
        return undefined("no samples") if points.table is None else self._score(self._read(points))

    def update(self, rows: Array, labels: Array) -> None:
        """Add samples; all of them are kept in memory.

        Args:
            rows: (n, d) features, or what the metric reads.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape or a type is wrong, or d differs from before.
        """
        self._take(read_samples(rows, labels, name=self.row_name))

    def merge(self, other: Self) -> Self:
        """Add the samples of another metric.

        Args:
            other: a metric of the same class; not changed.

        Returns:
            This metric.
        """
        if other._samples is not None:
            self._take(other._samples)
        return self

    def reset(self) -> None:
        """Remove all samples."""
        self._samples = None

    def _take(self, fresh: Samples) -> None:
        if self._samples is None:
            self._samples = fresh
            return
        stored = self._samples
        if stored.rows.shape[1] != fresh.rows.shape[1]:
            raise ValueError(f"`{self.row_name}` must have {stored.rows.shape[1]} columns, got {fresh.rows.shape[1]}")
        rows, labels = np.vstack([stored.rows, fresh.rows]), np.concatenate([stored.labels, fresh.labels])
        self._samples = read_samples(rows, labels, name=self.row_name)
