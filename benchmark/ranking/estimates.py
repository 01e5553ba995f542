"""What one metric says of one source: its score, and the score of each resample of the cases."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.metric.protocol import Metric, PoolMetric, score_of
from benchmark.metric.score import Score
from benchmark.ranking.resampled_statistics import ResampledCases
from benchmark.statistics import CasePoints, PointSample, Statistics
from benchmark.storage.files import write_json

Counts = NDArray[np.int64]

UNDEFINED = "undefined in this resample"

# Given what was being done and the exception: the reason to show, or the exception again
Failed = Callable[[str, Exception], str]


def raised(doing: str, error: Exception) -> str:
    """Raise an exception again: a metric that fails is a fault of its own where no source can be blamed."""
    raise error


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
class SourceOutcome:
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
    def load(cls, path: Path) -> "SourceOutcome":
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
    failed: Failed = raised,
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
        failed: What becomes of an exception that a metric raises: the reason of its NaN, or of its missing resamples.

    Returns:
        Name -> estimate.
    """
    statistics = reduce(lambda a, b: a.merge(b), cases)
    found = {name: _plain(name, metric, statistics, failed) for name, metric in metrics.items()}
    left = {name: metric for name, metric in metrics.items() if not math.isnan(found[name].value)}
    if not len(counts) or not left:
        return found
    for name, metric in left.items():
        if hasattr(metric, "resampled"):
            found[name] = _own_resamples(name, metric, found[name], statistics=statistics, counts=counts, failed=failed)
        elif _reads(metric, CasePoints):
            found[name] = replace(found[name], no_draws="it reads points of each case")
    generic = {name: metric for name, metric in left.items() if not found[name].draws and not found[name].no_draws}
    points = {name: metric for name, metric in generic.items() if _reads(metric, PointSample)}
    rest = {name: metric for name, metric in generic.items() if name not in points}
    for group, chosen in ((points, counts[:most_point_draws]), (rest, counts)):
        if not group:
            continue
        try:
            scores, reasons = _scores_of_resamples(group, cases, chosen, failed)
        except Exception as error:
            why = failed(f"in the resamples of {', '.join(group)}", error)
            scores, reasons = {}, dict.fromkeys(group, why)
        found |= {name: _with(found[name], drawn, whole) for name, (whole, *drawn) in scores.items()}
        found |= {name: replace(found[name], no_draws=why) for name, why in reasons.items()}
    return found


def _own_resamples(
    name: str, metric: Any, plain: Estimate, *, statistics: Statistics, counts: Counts, failed: Failed
) -> Estimate:
    """The estimate with the resamples of a metric that makes them itself."""
    try:
        drawn = metric.resampled(statistics, torch.from_numpy(counts))
    except Exception as error:
        return replace(plain, no_draws=failed(f"in the resamples of {name}", error))
    return _with(plain, [Score(float(value), UNDEFINED) for value in drawn])


def _scores_of_resamples(
    metrics: Mapping[str, Metric], cases: Sequence[Statistics], counts: Counts, failed: Failed
) -> tuple[dict[str, list[Score]], dict[str, str]]:
    """Of each metric the score of every case taken once, and then of each resample; all read one bag a resample.

    Returns:
        Name -> scores, and the name of each metric that failed in a resample -> the reason.
    """
    requests = dict.fromkeys(request for metric in metrics.values() for request in metric.requires)
    resampled = ResampledCases(cases, list(requests))
    scores: dict[str, list[Score]] = {name: [] for name in metrics}
    reasons: dict[str, str] = {}
    for row in [np.ones_like(counts[0]), *counts]:
        bag = resampled.statistics(row)
        for name, found in scores.items():
            try:
                found.append(metrics[name].compute(bag))
            except Exception as error:
                reasons[name] = failed(f"in the resamples of {name}", error)
        scores = {name: found for name, found in scores.items() if name not in reasons}
    return scores, reasons


def _plain(name: str, metric: Metric, statistics: Statistics, failed: Failed) -> Estimate:
    start = time.perf_counter()
    try:
        score = score_of(metric, statistics)
    except Exception as error:
        score = Score(math.nan, failed(f"in {name}", error))
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
    number = min((len(one.draws) for one in estimates.values() if one.draws), default=0)
    drawn = [metric.combine({name: _drawn(one, at) for name, one in estimates.items()}) for at in range(number)]
    return {
        name: Estimate(final[name].value, final[name].reason, one.seconds, one.parts,
                       [scores[name].value for scores in drawn] if one.draws else [], no_draws=one.no_draws)
        for name, one in estimates.items()
    }  # fmt: skip


def _with(plain: Estimate, drawn: Sequence[Score], whole: Score | None = None) -> Estimate:
    """The estimate with its resamples, moved by what the whole is off."""
    off = plain.value - whole.value if whole is not None and not math.isnan(whole.value) else 0.0
    shift = (
        {part: value - whole.parts.get(part, value) for part, value in plain.parts.items()} if whole is not None else {}
    )
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
        return Score(one.value, one.reason, one.parts)
    return Score(one.draws[at], UNDEFINED, {part: row[at] for part, row in one.drawn_parts.items()})
