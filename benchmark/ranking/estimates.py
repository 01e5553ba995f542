"""What one metric says of one source: its score, and the score of each resample of the cases."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.metric import Metric, PoolMetric, Score
from benchmark.ranking.resampled import ResampledCases
from benchmark.statistics import CasePoints, PointSample, Statistics
from benchmark.statistics.files import write_json

Counts = NDArray[np.int64]

UNDEFINED = "undefined in this resample"


@dataclass(frozen=True)
class Estimate:
    """A score with its resamples.

    Attributes:
        value: Higher is better; NaN where undefined.
        reason: Why it is NaN, or what was left out of a number.
        seconds: What the score cost beside the pass.
        parts: Elements of an estimate that is normalised over a pool.
        draws: The score of each resample, in their order; empty where there are none.
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


@dataclass(frozen=True)
class Outcome:
    """What became of one source.

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
    def load(cls, path: Path) -> "Outcome":
        """Read what `save` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        estimates = {name: Estimate(**estimate) for name, estimate in values.pop("estimates").items()}
        return cls(estimates=estimates, **values)


def estimate(
    metrics: Mapping[str, Metric],
    cases: Sequence[Statistics],
    counts: Counts,
    *,
    most_point_draws: int,
) -> dict[str, Estimate]:
    """Every metric's score of all cases, and of each resample of them.

    A metric of sampled points costs as much for a resample as for the cases themselves, so fewer are drawn. The
    resampled scores are moved so that every case taken once gives the score itself: what reads a part of the voxels
    (see `ResampledCases`) is off by that part's own chance.

    Args:
        metrics: Name -> metric.
        cases: The statistics of each case, sorted by name.
        counts: (b, m) the resamples.
        most_point_draws: Most resamples of a metric that reads sampled points.

    Returns:
        Name -> estimate.
    """
    statistics = reduce(lambda a, b: a.merge(b), cases)
    found = {name: _plain(metric, statistics) for name, metric in metrics.items()}
    left = {name: metric for name, metric in metrics.items() if not math.isnan(found[name].value)}
    if not len(counts) or not left:
        return found
    for name, metric in left.items():
        if hasattr(metric, "resampled"):
            drawn = metric.resampled(statistics, torch.from_numpy(counts))
            found[name] = _with(found[name], [Score(float(value), UNDEFINED) for value in drawn])
        elif _reads(metric, CasePoints):
            found[name] = replace(found[name], no_draws="it reads points of each case")
    generic = {name: metric for name, metric in left.items() if not found[name].draws and not found[name].no_draws}
    points = {name: metric for name, metric in generic.items() if _reads(metric, PointSample)}
    rest = {name: metric for name, metric in generic.items() if name not in points}
    for group, chosen in ((points, counts[:most_point_draws]), (rest, counts)):
        scores = _scores_of_resamples(group, cases, chosen) if group else {}
        found |= {name: _with(found[name], drawn, whole) for name, (whole, *drawn) in scores.items()}
    return found


def _scores_of_resamples(
    metrics: Mapping[str, Metric], cases: Sequence[Statistics], counts: Counts
) -> dict[str, list[Score]]:
    """Of each metric the score of every case taken once, and then of each resample; all read one bag a resample."""
    requests = dict.fromkeys(request for metric in metrics.values() for request in metric.requires)
    resampled = ResampledCases(cases, list(requests))
    bags = (resampled.statistics(row) for row in [np.ones_like(counts[0]), *counts])
    rows = [{name: metric.compute(bag) for name, metric in metrics.items()} for bag in bags]
    return {name: [row[name] for row in rows] for name in metrics}


def _plain(metric: Metric, statistics: Statistics) -> Estimate:
    start = time.perf_counter()
    score = metric.compute(statistics)
    parts = dict(score.parts) if isinstance(metric, PoolMetric) else {}
    return Estimate(score.value, score.reason, time.perf_counter() - start, parts)


def _reads(metric: Metric, kind: type) -> bool:
    return any(request.kind is kind for request in metric.requires)


def combined(metric: Metric, estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The final estimates of a pool; those of a metric that is normalised over the pool are made here.

    Args:
        metric: The metric.
        estimates: Source -> its estimate.

    Returns:
        Source -> its final estimate.
    """
    if not isinstance(metric, PoolMetric):
        return dict(estimates)
    final = metric.combine({name: Score(one.value, one.reason, one.parts) for name, one in estimates.items()})
    number = min((len(one.draws) for one in estimates.values() if not math.isnan(one.value)), default=0)
    drawn = [metric.combine({name: _drawn(one, at) for name, one in estimates.items()}) for at in range(number)]
    return {
        name: Estimate(final[name].value, final[name].reason, one.seconds, one.parts,
                       [scores[name].value for scores in drawn])
        for name, one in estimates.items()
    }  # fmt: skip


def _with(plain: Estimate, drawn: Sequence[Score], whole: Score | None = None) -> Estimate:
    """The estimate with its resamples, moved by what the whole is off."""
    off = plain.value - whole.value if whole is not None and not math.isnan(whole.value) else 0.0
    shift = {part: value - whole.parts[part] for part, value in plain.parts.items()} if whole is not None else {}
    return Estimate(
        plain.value,
        plain.reason,
        plain.seconds,
        plain.parts,
        [score.value + off for score in drawn],
        {part: [score.parts.get(part, math.nan) + by for score in drawn] for part, by in shift.items()},
    )


def _drawn(one: Estimate, at: int) -> Score:
    if not one.draws:
        return Score(one.value, one.reason)
    return Score(one.draws[at], UNDEFINED, {part: row[at] for part, row in one.drawn_parts.items()})
