"""Bases of the estimates that can also be used outside the pipeline, on arrays: they keep the samples added to them."""

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
    """What the two bases share: a statistic that arrays are added to, outside the pipeline."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._held: Any = None

    @property
    @abstractmethod
    def requires(self) -> tuple[Request, ...]:
        """The one statistic that `compute` reads."""

    @abstractmethod
    def _score(self, statistic: Any) -> Score:
        """The score of that statistic."""

    @abstractmethod
    def _reduce(self, rows: Tensor, labels: Tensor, k: int) -> Any:
        """The statistic of arrays."""

    def update(self, rows: Array, labels: Array, *, k: int | None = None) -> None:
        """Take in samples.

        Args:
            rows: (n, d) features, or (n, z) softmax, as the metric reads.
            labels: (n,) integers in 0 .. k - 1.
            k: number of classes; one more than the largest label seen unless named.

        Raises:
            ValueError: if a shape, a type or a label breaks its rule.
        """
        targets = torch.as_tensor(labels)
        classes = k if k is not None else (int(targets.max()) + 1 if len(targets) else 1)
        fresh = self._reduce(torch.as_tensor(rows), targets, classes)
        self._held = fresh if self._held is None else _union(self._held, fresh)

    def merge(self, other: Self) -> Self:
        """Take in the samples that another metric was updated with.

        Args:
            other: of the same class; not changed.

        Returns:
            This metric.
        """
        if other._held is not None:
            self._held = other._held if self._held is None else _union(self._held, other._held)
        return self

    def reset(self) -> None:
        """Forget all samples."""
        self._held = None

    def compute(self, statistics: Statistics | None = None) -> Score:
        """The score of a pass over a target, or without an argument of the samples updated with.

        Args:
            statistics: what `requires` asks for; None for the samples.

        Returns:
            The score.
        """
        if statistics is not None:
            return self._score(statistics[self.requires[0]])
        if self._held is None:
            return Score(math.nan, reason="no samples")
        return self._score(self._held)


def _union(a: Any, b: Any) -> Any:
    """Two statistics merged, of as many classes as the wider one has."""
    k = max(a.k, b.k)
    return a.widened(k).merge(b.widened(k))


class MomentMetric(_SampleMetric):
    """Base of the estimates that read class moments of one layer: a subclass has `name` and `_score(moments)`.

    Args:
        layer: -1 the input of the finest segmentation head.
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
    """Base of the estimates that read the joint histogram: a subclass has `name` and `_score(histogram)`."""

    @property
    def requires(self) -> tuple[Request, ...]:
        """The joint of labels and predictions."""
        return (JointRequest(),)

    def _reduce(self, rows: Tensor, labels: Tensor, k: int) -> JointHistogram:
        return JointHistogram.from_samples(rows, labels, k)
