"""Evaluate one metric on one pool, and average one metric over pools.

A score that is not finite is never dropped silently. With `missing="nan"` the metric's agreement on that pool is NaN;
with `missing="leave_out"` it is computed on the other sources. In both cases the reason names the sources. A mean over
targets is defined only if every target is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.agreement.measure_table import PEARSON
from analysis.agreement.rank_measures import why_undefined
from analysis.evaluation.prepared_truth import Agreement, PreparedTruth
from analysis.truth.halves import seed_variances
from analysis.truth.pools import Pool, Scope

Array = NDArray[np.float64]
Missing = Literal["nan", "leave_out"]
NOISE = 1.96  # standard errors


@dataclass(frozen=True)
class Evaluation:
    """The agreement of one metric with the truth on one target, or its mean over targets.

    Attributes:
        scope: Whether it is the agreement on one target or a mean.
        target: The target; for the mean over the targets of one scan, the scan; for other means "".
        tune: What was fine-tuned.
        metric: The metric or control.
        sources: The number of sources in the pool; for a mean, the mean number.
        counted: The number of sources with a finite score; for a mean, the mean number.
        targets: The number of targets averaged; 1 for a single target.
        score_ties: The share of pairs of counted sources with equal scores; NaN for fewer than two sources.
        dice_ties: The share of pairs of counted sources with equal Dice.
        seconds: Seconds per score, mean over the pool; NaN if not recorded.
        reason: Why the agreement is NaN or which sources were left out; otherwise "".
        agreement: The agreement; all NaN if undefined.
        families: The number of families among the sources; for a mean, the smallest number on one of the targets.
        fewest: The number of sources with a finite score; for a mean, the smallest number on one of the targets.
        averaged: Whether it is a mean of several evaluations.
        within_noise: Whether the Dice of the source with the highest score is within the noise of the seeds of the best
            (1 or 0); for a mean, the share of targets; NaN for a single seed.
    """

    scope: Scope
    target: str
    tune: str
    metric: str
    sources: float
    counted: float
    targets: int
    score_ties: float
    dice_ties: float
    seconds: float
    reason: str
    agreement: Agreement
    families: int
    fewest: float
    averaged: bool
    within_noise: float


def evaluate(
    truth: PreparedTruth, scores: pd.DataFrame, *, metric: str, missing: Missing = "nan", freely: bool = False
) -> Evaluation:
    """Agreement of one metric with the truth of one pool.

    Args:
        truth: The truth of the pool and its draws.
        scores: The rows of this metric and target, indexed by source; columns score, reason, seconds. A source without
            a row has no score.
        metric: The name of the metric.
        missing: How scores that are not finite are handled, see the module.
        freely: See `PreparedTruth.agreement`.

    Returns:
        The evaluation.
    """
    pool = truth.pool
    rows = scores.reindex(pool.sources)
    x, y = rows["score"].to_numpy(dtype=np.float64), pool.mean
    finite = np.isfinite(x)
    gaps = _gaps(rows, finite)
    kept = finite if missing == "leave_out" else np.ones(len(x), dtype=bool)
    undefined = gaps if missing == "nan" and gaps else why_undefined(x[kept], y[kept])
    return Evaluation(
        scope=Scope.TARGET,
        target=pool.target,
        tune=pool.tune,
        metric=metric,
        sources=len(x),
        counted=int(finite.sum()),
        targets=1,
        score_ties=tied_share(x[finite]),
        dice_ties=tied_share(y[finite]),
        seconds=float(rows["seconds"].astype(float).mean()),
        reason="; ".join(dict.fromkeys(filter(None, (undefined, gaps)))),
        agreement=truth.undefined() if undefined else truth.only(kept).agreement(x[kept], freely=freely),
        families=len(truth.draws.family_of(pool.sources)),
        fewest=int(finite.sum()),
        averaged=False,
        within_noise=float("nan") if undefined else _within_noise(pool, x, kept),
    )


def mean_evaluation(
    parts: Sequence[Evaluation], *, scope: Scope, target: str = "", weights: Sequence[float] | None = None
) -> Evaluation:
    """Average one metric over targets (or over means of targets, or over families), draw by draw.

    The mean is NaN with the reason if any part is NaN.

    Args:
        parts: What is averaged.
        scope: What the mean is of.
        target: The target, if the mean is of one.
        weights: The weight of each part; equal by default.
    """
    undefined = [part.target for part in parts if np.isnan(part.agreement.value[PEARSON.name])]
    incomplete = [part.target for part in parts if part.counted < part.sources]
    prefix, targets = ("undefined on ", undefined) if undefined else ("without some sources on ", incomplete)
    return Evaluation(
        scope=scope,
        target=target,
        tune=parts[0].tune,
        metric=parts[0].metric,
        sources=float(np.mean([part.sources for part in parts])),
        counted=float(np.mean([part.counted for part in parts])),
        targets=sum(part.targets for part in parts),
        score_ties=float(np.mean([part.score_ties for part in parts])),
        dice_ties=float(np.mean([part.dice_ties for part in parts])),
        seconds=float(np.mean([part.seconds for part in parts])),
        reason=prefix + ", ".join(targets) if targets else "",
        agreement=_mean([part.agreement for part in parts], weights),
        families=min(part.families for part in parts),
        fewest=min(part.fewest for part in parts),
        averaged=len(parts) > 1 or parts[0].averaged,
        within_noise=float(np.mean([part.within_noise for part in parts])),
    )


def gap_table(pools: Sequence[Pool], scores: pd.DataFrame) -> pd.DataFrame:
    """List every source of a pool for which a metric or control has no finite score.

    Args:
        pools: The pools.
        scores: Columns source, target, metric, score, reason, kind.

    Returns:
        Columns metric, kind, target, source, reason.
    """
    kinds = scores.drop_duplicates("metric")[["metric", "kind"]]
    places = pd.DataFrame([(pool.target, source) for pool in pools for source in pool.sources])
    every = kinds.merge(places.set_axis(["target", "source"], axis=1), how="cross")
    known = scores[["metric", "target", "source", "score", "reason"]]
    merged = every.merge(known, how="left", on=["metric", "target", "source"])
    bad = merged[~np.isfinite(merged["score"].to_numpy(dtype=np.float64))]
    columns = {name: bad[name].to_list() for name in ("metric", "kind", "target", "source")}
    return pd.DataFrame(columns | {"reason": [_why(reason) for reason in bad["reason"]]})


def tied_share(values: Array) -> float:
    """The share of pairs with exactly equal values.

    Args:
        values: (n,) float64; NaN for fewer than two.

    Example:
        >>> tied_share(np.array([1.0, 1.0, 2.0]))
        0.3333333333333333
    """
    _, size = np.unique(values, return_counts=True)
    pairs = len(values) * (len(values) - 1)
    return float((size * (size - 1)).sum() / pairs) if pairs else float("nan")


def _mean(parts: Sequence[Agreement], weights: Sequence[float] | None) -> Agreement:
    first = parts[0]

    def means(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        return {key: np.average([part[key] for part in parts], axis=0, weights=weights) for key in parts[0]}

    return Agreement(
        value={key: float(np.average([part.value[key] for part in parts], weights=weights)) for key in first.value},
        resampled=means([part.resampled for part in parts]),
        null=means([part.null for part in parts]),
        jackknife=means([part.jackknife for part in parts]),
        redrawn={
            kind: means([part.redrawn[kind] for part in parts])
            for kind in first.redrawn
            if all(kind in part.redrawn for part in parts)
        },
        of_families=means([part.of_families for part in parts]),
    )


def _within_noise(pool: Pool, scores: Array, kept: NDArray[np.bool_]) -> float:
    """Whether the first choice and the best source differ by no more than the 95% noise of a difference of means."""
    if len(pool.seeds) < 2:
        return float("nan")
    dice, chosen = pool.mean[kept], scores[kept]
    noise = NOISE * float(np.sqrt(2 * seed_variances(pool.dice).mean() / len(pool.seeds)))
    return float(dice.max() - dice[chosen == chosen.max()].min() <= noise)


def _gaps(rows: pd.DataFrame, finite: NDArray[np.bool_]) -> str:
    if finite.all():
        return ""
    bad = rows[~finite]
    names = [f"{name} ({_why(reason)})" for name, reason in bad["reason"].items()]
    return f"no score for {len(bad)} of {len(rows)} sources: {', '.join(names)}"


def _why(reason: object) -> str:
    return reason if isinstance(reason, str) and reason else "no score"
