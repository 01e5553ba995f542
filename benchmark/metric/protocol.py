"""Protocols of transferability estimates.

An estimate consists of one Python file and one yaml. It declares the statistics that it requires, and `compute` is a
pure function of them. Higher is always better.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from benchmark.metric.score import Score, undefined
from benchmark.statistics import Request, Statistics, feature_request


@runtime_checkable
class Metric(Protocol):
    """A transferability estimate."""

    name: str

    @property
    def requires(self) -> tuple[Request, ...]:
        """The statistics that `compute` requires."""

    def compute(self, statistics: Statistics) -> Score:
        """Compute the score as a pure function of the statistics."""


def reads_prediction(metric: object) -> bool:
    """Whether a metric uses the output of the segmentation head; point metrics declare it by `reads`."""
    requests: tuple[Request, ...] = getattr(metric, "requires", ())
    return getattr(metric, "reads", "") == "logits" or any(not feature_request(request) for request in requests)


def score_of(metric: Metric, statistics: Statistics, **passes: Statistics | None) -> Score:
    """Compute a metric's score from all its passes; NaN if it needs predictions and the source has no head."""
    if statistics.z == 0 and reads_prediction(metric):
        return undefined("the source has no segmentation head, whose prediction this estimate needs")
    return metric.compute(statistics, **passes)


@runtime_checkable
class PoolMetric(Metric, Protocol):
    """An estimate that is normalised over the sources of one target."""

    def combine(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """Compute the final score of each source from the `parts` of all sources."""


@runtime_checkable
class ExtraPassMetric(Protocol):
    """An estimate that needs more than one pass over the target.

    Attributes:
        name: name of the metric.
        needs: names of the extra passes, which are also arguments of `compute`: "source" (the source's own data through
            the same network) or "perturbed" (the target's cases with perturbed images). Each pass accumulates the
            statistics named by `requires`.
    """

    name: str
    needs: ClassVar[tuple[str, ...]]

    @property
    def requires(self) -> tuple[Request, ...]:
        """The statistics that `compute` requires from every pass."""

    def compute(self, statistics: Statistics, **passes: Statistics | None) -> Score:
        """Compute the score from the pass over the target and the extra passes, by name."""
