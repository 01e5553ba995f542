"""Base of the estimates that read sampled points: a class-balanced sample of voxels over all cases."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np

from baselines.inputs.arrays import Array, Samples, read_samples, undefined
from benchmark.metric.score import Score
from benchmark.statistics import BalancedPointsRequest, PointSample, Request, Statistics


class PointMetric(ABC):
    """An estimate of sampled points: a subclass has `name` and `_score(samples)`.

    Metrics with one `count`, `layer` and `seed` share one sample.

    Args:
        count: most points, as many of each class as there are.
        layer: -1 the input of the finest segmentation head.
        seed: of the sampling.
    """

    name: ClassVar[str]
    row_name: ClassVar[str] = "features"
    reads: ClassVar[str] = "features"

    def __init__(self, *, count: int = 2000, layer: int = -1, seed: int = 0) -> None:
        self.count = count
        self.layer = layer
        self.seed = seed
        self._held: Samples | None = None

    @property
    def requires(self) -> tuple[Request, ...]:
        """One class-balanced sample of points."""
        return (BalancedPointsRequest(count=self.count, layer=self.layer, seed=self.seed),)

    @abstractmethod
    def _score(self, samples: Samples) -> Score:
        """The score of checked samples."""

    def _read(self, points: PointSample) -> Samples:
        return read_samples(points.features, points.labels)

    def compute(self, statistics: Statistics | None = None) -> Score:
        """The score of a pass over a target, or without an argument of the samples updated with.

        Args:
            statistics: what `requires` asks for; None for the samples.

        Returns:
            The score.
        """
        if statistics is None:
            return undefined("no samples") if self._held is None else self._score(self._held)
        points: PointSample = statistics[self.requires[0]]
        return undefined("no samples") if points.table is None else self._score(self._read(points))

    def update(self, rows: Array, labels: Array) -> None:
        """Take in samples; all of them are kept.

        Args:
            rows: (n, d) features, or what the metric reads.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape or a type is wrong, or d differs from before.
        """
        self._take(read_samples(rows, labels, name=self.row_name))

    def merge(self, other: Self) -> Self:
        """Take in the samples that another metric was updated with.

        Args:
            other: of the same class; not changed.

        Returns:
            This metric.
        """
        if other._held is not None:
            self._take(other._held)
        return self

    def reset(self) -> None:
        """Forget all samples."""
        self._held = None

    def _take(self, fresh: Samples) -> None:
        if self._held is None:
            self._held = fresh
            return
        held = self._held
        if held.rows.shape[1] != fresh.rows.shape[1]:
            raise ValueError(f"`{self.row_name}` must have {held.rows.shape[1]} columns, got {fresh.rows.shape[1]}")
        rows, labels = np.vstack([held.rows, fresh.rows]), np.concatenate([held.labels, fresh.labels])
        self._held = read_samples(rows, labels, name=self.row_name)
