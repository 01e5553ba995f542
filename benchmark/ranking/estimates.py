"""What a metric says of a source: its score, and the score of each resample of the cases."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.metric.protocol import Metric, PoolMetric, score_of
from benchmark.metric.score import Score
from benchmark.ranking.case_bootstrap import Counts, ResampledCases
from benchmark.statistics import CasePoints, PointSample, Statistics
from benchmark.storage.files import read_json, write_json

UNDEFINED = "undefined in this resample"

# Given what was being done and the exception: the reason to show; or it raises the exception again
Failed = Callable[[str, Exception], str]


@dataclass(frozen=True)
class Estimate:
    """A score with its resamples.

    Attributes:
        value: Higher is better; NaN where undefined.
        reason: Why it is NaN, or what was left out of a number.
        seconds: What the score cost in addition to the pass.
        parts: Elements of an estimate that is normalised over a pool.
        draws: The score of each resample, in their order, those of the two halves of the cases first; empty where
            there are none.
        drawn_parts: The elements of each resample.
        no_draws: Why `draws` is empty.
    """

    value: float
    reason: str = ""
    seconds: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)
    draws: Sequence[float] = ()
    drawn_parts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    no_draws: str = ""

    @property
    def remark(self) -> str:
        """Why the score or its interval is undefined, or what was left out; empty where there is nothing to say."""
        return "; ".join(filter(None, (self.reason, f"no interval: {self.no_draws}" if self.no_draws else "")))

    def draw(self, at: int) -> Score:
        """The score of a resample; that of all cases where there are no resamples."""
        if not self.draws:
            return Score(self.value, self.reason, self.parts)
        return Score(self.draws[at], UNDEFINED, {part: row[at] for part, row in self.drawn_parts.items()})


@dataclass(frozen=True)
class SourceOutcome:
    """What became of a source.

    Attributes:
        name: The source's name.
        estimates: Metric -> its estimate; empty for a source that was skipped.
        skipped: Why it was skipped; empty where it was not.
        facts: What is known of it: architecture, parameters, window, seconds, peak_memory_mb, step_seconds and so on.
        notes: What was taken over, left out or adapted, one line each.
    """

    name: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    skipped: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> "SourceOutcome":
        """Read what `save` wrote."""
        values = read_json(path)
        estimates = {name: Estimate(**estimate) for name, estimate in values.pop("estimates").items()}
        return cls(estimates=estimates, **values)


def estimate(
    metrics: Mapping[str, Metric],
    cases: Sequence[Statistics],
    counts: Counts,
    *,
    point_draws: int,
    failed: Failed,
) -> dict[str, Estimate]:
    """Every metric's score of all cases, and of each resample of them.

    A metric of sampled points costs as much for a resample as for the cases themselves, so fewer are drawn. The
    resampled scores are moved so that every case taken once gives the score itself: what reads a part of the voxels
    (see `ResampledCases`) is off by that part's own chance.

    Args:
        metrics: Name -> metric.
        cases: The statistics of each case, sorted by name.
        counts: (b, m) the resamples.
        point_draws: Most resamples of a metric that reads sampled points.
        failed: What becomes of an exception that a metric raises: the reason of its NaN, or of its missing resamples.

    Returns:
        Name -> estimate.
    """
    statistics = reduce(lambda a, b: a.merge(b), cases)
    estimates = {name: _plain(name, metric, statistics, failed) for name, metric in metrics.items()}
    points: dict[str, Metric] = {}
    others: dict[str, Metric] = {}
    for name, metric in metrics.items():
        plain = estimates[name]
        if math.isnan(plain.value) or not len(counts):
            continue
        if hasattr(metric, "resampled"):
            try:
                drawn = metric.resampled(statistics, torch.from_numpy(counts))
                estimates[name] = _with_draws(plain, [Score(float(value), UNDEFINED) for value in drawn])
            except Exception as error:
                estimates[name] = replace(plain, no_draws=failed(f"in the resamples of {name}", error))
        elif _reads(metric, CasePoints):
            estimates[name] = replace(plain, no_draws="it reads points of each case")
        else:
            (points if _reads(metric, PointSample) else others)[name] = metric
    for group, chosen in ((points, counts[:point_draws]), (others, counts)):
        if group:
            estimates |= _resampled(group, estimates, cases, chosen, failed)
    return estimates


def _plain(name: str, metric: Metric, statistics: Statistics, failed: Failed) -> Estimate:
    start = time.perf_counter()
    try:
        score = score_of(metric, statistics)
    except Exception as error:
        score = Score(math.nan, failed(f"in {name}", error))
    seconds = time.perf_counter() - start
    return Estimate(score.value, score.reason, seconds, dict(score.parts) if isinstance(metric, PoolMetric) else {})


def _reads(metric: Metric, kind: type) -> bool:
    return any(issubclass(request.kind, kind) for request in metric.requires)


def _resampled(
    metrics: Mapping[str, Metric],
    plain: Mapping[str, Estimate],
    cases: Sequence[Statistics],
    counts: Counts,
    failed: Failed,
) -> dict[str, Estimate]:
    requests = dict.fromkeys(request for metric in metrics.values() for request in metric.requires)
    scores: dict[str, list[Score]] = {name: [] for name in metrics}  # of every case taken once, then of each resample
    reasons: dict[str, str] = {}
    try:
        resampled = ResampledCases(cases, list(requests))
        for row in [np.ones_like(counts[0]), *counts]:
            statistics = resampled.statistics(row)
            for name in [name for name in metrics if name not in reasons]:
                try:
                    scores[name].append(metrics[name].compute(statistics))
                except Exception as error:
                    reasons[name] = failed(f"in the resamples of {name}", error)
    except Exception as error:
        reasons = dict.fromkeys(metrics, failed(f"in the resamples of {', '.join(metrics)}", error))
    return {
        name: replace(plain[name], no_draws=reasons[name])
        if name in reasons
        else _with_draws(plain[name], drawn[1:], drawn[0])
        for name, drawn in scores.items()
    }


def _with_draws(plain: Estimate, drawn: Sequence[Score], whole: Score | None = None) -> Estimate:
    """The estimate with its resamples, moved by what the score of every case taken once is off."""
    off, shift = 0.0, {}
    if whole is not None:
        off = 0.0 if math.isnan(whole.value) else plain.value - whole.value
        shift = {part: value - whole.parts.get(part, value) for part, value in plain.parts.items()}
    drawn_parts = {part: [score.parts.get(part, math.nan) + by for score in drawn] for part, by in shift.items()}
    return replace(plain, draws=[score.value + off for score in drawn], drawn_parts=drawn_parts)


def combined(metric: Metric, estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The final estimates of a pool, by source; those of a metric that is normalised over the pool are made here."""
    if not isinstance(metric, PoolMetric):
        return dict(estimates)
    whole = metric.combine({name: Score(own.value, own.reason, own.parts) for name, own in estimates.items()})
    number = min((len(own.draws) for own in estimates.values() if own.draws), default=0)
    drawn = [metric.combine({name: own.draw(at) for name, own in estimates.items()}) for at in range(number)]
    return {
        name: Estimate(whole[name].value, whole[name].reason, own.seconds, own.parts,
                       [scores[name].value for scores in drawn] if own.draws else [], no_draws=own.no_draws)
        for name, own in estimates.items()
    }  # fmt: skip
