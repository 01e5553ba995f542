"""The protocol that every transferability estimate follows.

An estimate is one file and one yaml. It declares the statistics that it reads; `compute` is a pure function of them.
Higher is better for every one.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from benchmark.metric.score import Score
from benchmark.statistics import Request, Statistics, feature_request


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
