"""Base classes of the estimates computed from a class-balanced sample of voxels over all cases."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Samples, read_samples
from benchmark.metric.score import Score, undefined
from benchmark.metric.standalone import StandaloneMetric
from benchmark.statistics import BalancedPointsRequest, PointSample, Request, Statistics


@dataclass(kw_only=True, eq=False)
class BalancedSampling:
    """Parameters of the sampling; metrics for which they are the same share one sample.

    Attributes:
        count: maximum number of points of a pass, split evenly over the classes.
        layer: tapped layer; -1 is the input of the finest segmentation head.
        seed: seed of the sampling.
    """

    count: int = 2000
    layer: int = -1
    seed: int = 0

    @property
    def requires(self) -> tuple[Request, ...]:
        """A class-balanced sample of points, of every pass."""
        return (BalancedPointsRequest(count=self.count, layer=self.layer, seed=self.seed),)


@dataclass(kw_only=True, eq=False)
class PointMetric(BalancedSampling, StandaloneMetric[Samples]):
    """Base of the estimates computed from sampled points; subclasses define `name` and `_estimate(samples)`.

    Attributes:
        reads: rows that the estimate is computed from, "features" or "logits".
        compares: whether the estimate needs two classes.
    """

    reads: ClassVar[str] = "features"
    compares: ClassVar[bool] = True

    @abstractmethod
    def _estimate(self, samples: Samples) -> Score:
        """Compute the score; if the estimate compares classes, of at least two, in finite numbers."""

    def _score(self, samples: Samples) -> Score:
        return undefined(samples.undefined) if self.compares and samples.undefined else self._estimate(samples)

    def update(self, rows: Array, labels: Array) -> None:
        """Add samples; all of them are kept in memory.

        Args:
            rows: (n, d) features, or what the metric reads.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape or a type is wrong, or d differs from before.
        """
        self._add(read_samples(rows, labels, name=self.reads))

    def _from_pass(self, statistics: Statistics) -> Samples | None:
        points: PointSample = statistics[self.requires[0]]
        return None if points.table is None else read_samples(getattr(points, self.reads), points.labels)

    def _union(self, a: Samples, b: Samples) -> Samples:
        return joined(a, b, name=self.reads)


def joined(a: Samples, b: Samples, *, name: str) -> Samples:
    """Join two sets of samples.

    Raises:
        ValueError: if they have different numbers of columns; `name` is that of the rows.
    """
    if a.rows.shape[1] != b.rows.shape[1]:
        raise ValueError(f"`{name}` must have {a.rows.shape[1]} columns, got {b.rows.shape[1]}")
    return read_samples(np.vstack([a.rows, b.rows]), np.concatenate([a.labels, b.labels]))


class SourcePassMetric(BalancedSampling, ABC):
    """Base of the estimates computed from points of the target and, by a second pass, of the source's own data.

    Subclasses define `name` and `_score(target, source)`.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ("source",)

    @abstractmethod
    def _score(self, target: PointSample, source: PointSample) -> Score:
        """Compute the score from two non-empty samples."""

    def compute(self, statistics: Statistics, *, source: Statistics | None = None) -> Score:
        """Compute the score; NaN without the second pass.

        Args:
            statistics: statistics of the target.
            source: statistics of the source's own data, from the same network.
        """
        if source is None:
            return undefined("needs a pass over the source's own data")
        points, own = statistics[self.requires[0]], source[self.requires[0]]
        return undefined("no samples") if points.table is None or own.table is None else self._score(points, own)
