"""Base classes of estimates that can also be used on arrays, outside the pipeline."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self, TypeAlias

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.metric.score import Score
from benchmark.statistics import (
    ClassMoments,
    ClassMomentsRequest,
    JointHistogram,
    JointRequest,
    Request,
    Statistics,
)

Array: TypeAlias = NDArray[Any] | Tensor


class _SampleMetric(ABC):
    """Common base: accumulates a statistic from arrays, outside the pipeline."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._statistic: Any = None

    @property
    @abstractmethod
    def requires(self) -> tuple[Request, ...]:
        """The single statistic that `compute` requires."""

    @abstractmethod
    def _score(self, statistic: Any) -> Score:
        """Compute the score from the statistic."""

    @abstractmethod
    def _reduce(self, rows: Tensor, labels: Tensor, k: int) -> Any:
        """Compute the statistic of arrays."""

    def update(self, rows: Array, labels: Array, *, k: int | None = None) -> None:
        """Add samples.

        Args:
            rows: (n, d) features or (n, z) softmax, as the metric requires.
            labels: (n,) integers in 0 .. k - 1.
            k: number of classes; by default the largest label plus 1.

        Raises:
            ValueError: if a shape, a type or a label is invalid.
        """
        targets = torch.as_tensor(labels)
        classes = k if k is not None else (int(targets.max()) + 1 if len(targets) else 1)
        fresh = self._reduce(torch.as_tensor(rows), targets, classes)
        self._statistic = fresh if self._statistic is None else _union(self._statistic, fresh)

    def merge(self, other: Self) -> Self:
        """Add the samples of another metric.

        Args:
            other: a metric of the same class; not changed.

        Returns:
            This metric.
        """
        if other._statistic is not None:
            added = other._statistic
            self._statistic = added if self._statistic is None else _union(self._statistic, added)
        return self

    def reset(self) -> None:
        """Remove all samples."""
        self._statistic = None

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score from the statistics of a pass, or from the samples given to `update`.

        Args:
            statistics: the statistics named by `requires`; None to use the samples given to `update`.

        Returns:
            The score.
        """
        if statistics is not None:
            return self._score(statistics[self.requires[0]])
        if self._statistic is None:
            return Score(math.nan, reason="no samples")
        return self._score(self._statistic)


def _union(a: Any, b: Any) -> Any:
    """Merge two statistics, padded to the larger number of classes."""
    k = max(a.k, b.k)
    return a.widened(k).merge(b.widened(k))


class MomentMetric(_SampleMetric):
    """Base of the estimates computed from class moments of one layer; subclasses define `name` and `_score(moments)`.

    Args:
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    def __init__(self, *, layer: int = -1) -> None:
        super().__init__()
        self.layer = layer

    @property
    def requires(self) -> tuple[Request, ...]:
        """Class moments of the layer."""
        return (ClassMomentsRequest(layer=self.layer),)

    def _reduce(self, rows: Tensor, labels: Tensor, k: int) -> ClassMoments:
        return ClassMoments.from_samples(rows, labels, k)


class JointMetric(_SampleMetric):
    """Base of the estimates computed from the joint histogram; subclasses define `name` and `_score(histogram)`."""

    @property
    def requires(self) -> tuple[Request, ...]:
        """The joint histogram of labels and predictions."""
        return (JointRequest(),)

    def _reduce(self, rows: Tensor, labels: Tensor, k: int) -> JointHistogram:
        return JointHistogram.from_samples(rows, labels, k)
