"""The protocol that every transferability estimate follows, and the small bases that most of them share.

An estimate is one file and one yaml. It declares the statistics that it reads; `compute` is a pure function of them.
Higher is better for every one.
"""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.statistics import (
    ClassMoments,
    ClassMomentsRequest,
    JointHistogram,
    JointRequest,
    Request,
    Statistics,
    feature_request,
)

Array: TypeAlias = NDArray[Any] | Tensor


class UndefinedScoreWarning(UserWarning):
    """A score is NaN; the message is the reason."""


@dataclass(frozen=True)
class Score:
    """What an estimate says of one source and one target.

    Attributes:
        value: higher is better; NaN where undefined.
        reason: why it is NaN, or what was left out of a number; empty where there is nothing to say.
        parts: elements worth logging; the elements of an estimate that is normalised over a pool.

    Example:
        >>> Score(float("nan"))
        Traceback (most recent call last):
        ValueError: `reason` must say why `value` is NaN, got ''
    """

    value: float
    reason: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if math.isnan(self.value) and not self.reason:
            raise ValueError("`reason` must say why `value` is NaN, got ''")


def value_or_warn(score: Score, *, stacklevel: int = 3) -> float:
    """The number of a score, as a sample door returns it; a warning tells why it is NaN.

    Args:
        score: what a statistics door returned.
        stacklevel: frames from here to the caller's caller.

    Returns:
        The score's value.
    """
    if math.isnan(score.value):
        warnings.warn(score.reason, UndefinedScoreWarning, stacklevel=stacklevel)
    return score.value


@runtime_checkable
class Metric(Protocol):
    """A transferability estimate."""

    name: str

    @property
    def requires(self) -> tuple[Request, ...]:
        """The statistics that `compute` reads."""
        ...

    def compute(self, statistics: Statistics) -> Score:
        """The score, as a pure function of the statistics."""
        ...


def reads_prediction(metric: object) -> bool:
    """Whether a metric reads what the segmentation head puts out; one of sampled points says so by `reads`."""
    requests: tuple[Request, ...] = getattr(metric, "requires", ())
    return getattr(metric, "reads", "") == "logits" or any(not feature_request(request) for request in requests)


def score_of(metric: Metric, statistics: Statistics, **passes: Statistics | None) -> Score:
    """A metric's score of a pass over the target and of further ones; NaN where it reads a prediction and none is."""
    if statistics.z == 0 and reads_prediction(metric):
        return Score(math.nan, reason="the source has no segmentation head, and this estimate reads its prediction")
    return metric.compute(statistics, **passes)


@runtime_checkable
class PoolMetric(Metric, Protocol):
    """An estimate that is normalised over the sources of one target."""

    def combine(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """The final score of each source, from the elements (`parts`) of all."""
        ...


@runtime_checkable
class ExtraPassMetric(Protocol):
    """An estimate that reads more than one pass over the target.

    Attributes:
        name: as of every metric.
        needs: names of the further passes, each also an argument of `compute`: "source" (the source's own data through
            the same network) or "perturbed" (the target's cases with perturbed images). Each is reduced to what
            `requires` asks for.
    """

    name: str
    needs: ClassVar[tuple[str, ...]]

    @property
    def requires(self) -> tuple[Request, ...]:
        """The statistics that `compute` reads, of every pass."""
        ...

    def compute(self, statistics: Statistics, **passes: Statistics | None) -> Score:
        """The score of a pass over the target and of the others, by name."""
        ...


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
