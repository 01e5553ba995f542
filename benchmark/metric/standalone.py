"""Base classes of estimates that can also be used on arrays, outside the pipeline."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, get_args

import torch

from benchmark.metric.score import Score, undefined
from benchmark.statistics import (
    Array,
    ClassMoments,
    ClassMomentsRequest,
    JointHistogram,
    JointRequest,
    Request,
    Statistics,
)

Samples = TypeVar("Samples")
Accumulated = TypeVar("Accumulated", ClassMoments, JointHistogram)

# Parameters of the sampling of a pass, without effect on samples that are given
PASS_SETTINGS = {"class_count", "count", "counts", "layer", "places", "scene_count", "seed"}


@dataclass(kw_only=True, eq=False)
class StandaloneMetric(ABC, Generic[Samples]):
    """Base of the estimates that accept samples outside the pipeline; a dataclass whose fields are the parameters.

    Attributes:
        name: name of the metric.
        invariances: changes of the samples that leave the score as it is; checked by the shared tests.
        exempt: properties of other estimates that this one lacks; a comment says why.
        empty: reason of the score of no samples.
    """

    name: ClassVar[str]
    invariances: ClassVar[frozenset[str]] = frozenset()
    exempt: ClassVar[frozenset[str]] = frozenset()
    empty: ClassVar[str] = "no samples"
    _samples: Samples | None = field(default=None, init=False, repr=False)

    @classmethod
    def of_samples(cls, **options: object) -> Self:
        """Metric for samples that are given.

        Raises:
            TypeError: if an option is unknown, or sets how a pass samples.
            ValueError: if an option is invalid.
        """
        if unused := sorted(PASS_SETTINGS & options.keys()):
            raise TypeError(f"`{unused[0]}` sets how a pass samples and has no effect on samples that are given")
        return cls(**options)

    @property
    @abstractmethod
    def requires(self) -> tuple[Request, ...]:
        """The statistics that `compute` requires."""

    @abstractmethod
    def _score(self, samples: Samples) -> Score:
        """Compute the score."""

    @abstractmethod
    def _from_pass(self, statistics: Statistics) -> Samples | None:
        """Samples in the statistics of a pass; None if there are none."""

    @abstractmethod
    def _union(self, a: Samples, b: Samples) -> Samples:
        """Merge two sets of samples."""

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score from the statistics of a pass, or from the samples given to `update`.

        Args:
            statistics: the statistics named by `requires`; None to use the samples given to `update`.
        """
        samples = self._samples if statistics is None else self._from_pass(statistics)
        return undefined(self.empty) if samples is None else self._score(samples)

    def merge(self, other: Self) -> Self:
        """Add the samples of another metric of the same class, and return this one."""
        if other._samples is not None:
            self._add(other._samples)
        return self

    def reset(self) -> None:
        """Remove all samples."""
        self._samples = None

    def _add(self, fresh: Samples) -> None:
        self._samples = fresh if self._samples is None else self._union(self._samples, fresh)


class _StatisticMetric(StandaloneMetric[Accumulated]):
    """Base of the estimates computed from one statistic that needs no samples at hand."""

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
        statistic: Any = self.requires[0].kind
        self._add(statistic.from_samples(torch.as_tensor(rows), targets, classes))

    def _from_pass(self, statistics: Statistics) -> Accumulated:
        return cast("Accumulated", statistics[self.requires[0]])

    def _union(self, a: Accumulated, b: Accumulated) -> Accumulated:
        k = max(a.k, b.k)
        return a.widened(k).merge(b.widened(k))


@dataclass(kw_only=True, eq=False)
class MomentMetric(_StatisticMetric[ClassMoments]):
    """Base of the estimates computed from class moments of one layer; subclasses define `name` and `_score(moments)`.

    Attributes:
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    layer: int = -1

    @property
    def requires(self) -> tuple[Request, ...]:
        """Class moments of the layer."""
        return (ClassMomentsRequest(layer=self.layer),)


class JointMetric(_StatisticMetric[JointHistogram]):
    """Base of the estimates computed from the joint histogram; subclasses define `name` and `_score(histogram)`."""

    @property
    def requires(self) -> tuple[Request, ...]:
        """The joint histogram of labels and predictions."""
        return (JointRequest(),)


def require(name: str, value: object, rule: str, kept: bool) -> None:
    """Check that the parameter `name` keeps to its rule.

    Raises:
        ValueError: if it does not.

    Example:
        >>> require("k", 0, "be at least 1", 0 >= 1)
        Traceback (most recent call last):
        ValueError: `k` must be at least 1, got 0
    """
    if not kept:
        raise ValueError(f"`{name}` must {rule}, got {value!r}")


def require_choice(name: str, value: object, choices: object) -> None:
    """Check that the parameter `name` is a member of a Literal type.

    Raises:
        ValueError: if it is not.

    Example:
        >>> from typing import Literal
        >>> require_choice("tail", "left", Literal["bot", "top"])
        Traceback (most recent call last):
        ValueError: `tail` must be "bot" or "top", got 'left'
    """
    *others, last = (f'"{choice}"' for choice in get_args(choices))
    require(name, value, f"be {', '.join(others)} or {last}", value in get_args(choices))
