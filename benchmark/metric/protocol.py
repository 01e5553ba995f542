"""Protocols of transferability estimates.

An estimate consists of one Python file and one yaml. It declares the statistics that it requires, and `compute` is a
pure function of them. Higher is always better.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from benchmark.metric.score import Score, undefined
from benchmark.statistics import ExpectedPredictionRequest, Request, Statistics, feature_request


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
class TwoLookMetric(Metric, Protocol):
    """An estimate that looks twice at the source's softmax; `requires` names the softmax that a pass stores.

    A pass of many source classes does not store it; then the second look is a second forward pass.
    """

    def second_look(self, statistics: Statistics) -> ExpectedPredictionRequest | None:
        """The request for the second look, from the statistics of the complete first pass; None if it needs none."""


def second_looks(metrics: Mapping[str, Metric], statistics: Statistics) -> dict[str, ExpectedPredictionRequest]:
    """The requests for a second look at the softmax, by name of the metric, after a complete first pass."""
    if not statistics.z:
        return {}
    two_looks = {name: metric for name, metric in metrics.items() if isinstance(metric, TwoLookMetric)}
    looks = {name: metric.second_look(statistics) for name, metric in two_looks.items()}
    return {name: request for name, request in looks.items() if request is not None and request not in statistics}


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
