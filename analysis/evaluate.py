"""One metric on one pool, and the mean of one metric over pools.

A score that is not finite is never dropped silently. `missing="nan"` makes the metric's agreement on that pool NaN;
`missing="leave_out"` computes it on the other sources. Either way the reason names the sources, and a mean over targets
is defined only where every target is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.agreement import why_undefined
from analysis.draws import Draws
from analysis.measures import MEASURES, PEARSON, PRIMARY
from analysis.pools import Pool

Array = NDArray[np.float64]
Missing = Literal["nan", "leave_out"]


@dataclass(frozen=True)
class Agreement:
    """All that is known of the agreement between one metric and the truth.

    Attributes:
        value: Measure -> agreement.
        resampled: Measure -> (b,) the agreement on each bootstrap resample of the sources.
        null: Primary measure -> (b,) the agreement with the Dice permuted among the sources.
        jackknife: (N,) Pearson's agreement without each source in turn.
    """

    value: Mapping[str, float]
    resampled: Mapping[str, Array]
    null: Mapping[str, Array]
    jackknife: Array


@dataclass(frozen=True)
class Evaluation:
    """How well one metric ranks the sources of one target, or of the mean over several.

    Attributes:
        target: The target, or the name of the mean.
        tune: What was fine-tuned.
        metric: The metric or control.
        sources: How many sources the pool has; for a mean, the mean number.
        counted: On how many of them the metric was defined, likewise.
        targets: Over how many targets it is a mean; 1 for a single one.
        seconds: What one score cost, mean over the pool; NaN where no score says.
        reason: Why the agreement is NaN, or what was left out; "".
        agreement: The agreement; NaN throughout where undefined.
    """

    target: str
    tune: str
    metric: str
    sources: float
    counted: float
    targets: int
    seconds: float
    reason: str
    agreement: Agreement


def evaluate(pool: Pool, scores: pd.DataFrame, *, metric: str, draws: Draws, missing: Missing = "nan") -> Evaluation:
    """Agreement of one metric with the truth of one pool.

    Args:
        pool: The truth.
        scores: The rows of this metric and this target, indexed by source; columns score, reason, seconds. A source
            without a row has no score.
        metric: Its name.
        draws: The resamples and permutations.
        missing: What a score that is not finite does, see the module.

    Returns:
        The evaluation.
    """
    rows = scores.reindex(pool.sources)
    x, y = rows["score"].to_numpy(dtype=np.float64), pool.mean
    finite = np.isfinite(x)
    gaps = _gaps(rows, finite)
    kept = finite if missing == "leave_out" else np.ones(len(x), dtype=bool)
    undefined = gaps if missing == "nan" and gaps else why_undefined(x[kept], y[kept])
    names = [name for name, keep in zip(pool.sources, kept, strict=True) if keep]
    return Evaluation(
        target=pool.target,
        tune=pool.tune,
        metric=metric,
        sources=len(x),
        counted=int(finite.sum()),
        targets=1,
        seconds=float(rows["seconds"].astype(float).mean()),
        reason="; ".join(dict.fromkeys(filter(None, (undefined, gaps)))),
        agreement=_undefined(draws) if undefined else _agreement(x[kept], y[kept], names, draws),
    )


def mean_evaluation(parts: Sequence[Evaluation], *, name: str) -> Evaluation:
    """The mean of one metric over targets (or over means of targets), draw by draw.

    Args:
        parts: The evaluations of one metric, one a target.
        name: What to call the mean in the column of targets.

    Returns:
        The mean; NaN with the reason where one of the parts is.
    """
    undefined = [part.target for part in parts if np.isnan(part.agreement.value[PEARSON.name])]
    incomplete = [part.target for part in parts if part.counted < part.sources]
    told = ("undefined on ", undefined) if undefined else ("without some sources on ", incomplete)
    return Evaluation(
        target=name,
        tune=parts[0].tune,
        metric=parts[0].metric,
        sources=float(np.mean([part.sources for part in parts])),
        counted=float(np.mean([part.counted for part in parts])),
        targets=sum(part.targets for part in parts),
        seconds=float(np.mean([part.seconds for part in parts])),
        reason=told[0] + ", ".join(told[1]) if told[1] else "",
        agreement=_mean([part.agreement for part in parts]),
    )


def _mean(parts: Sequence[Agreement]) -> Agreement:
    """The mean of each entry, draw by draw."""
    first = parts[0]
    return Agreement(
        value={key: float(np.mean([part.value[key] for part in parts])) for key in first.value},
        resampled={key: np.mean([part.resampled[key] for part in parts], axis=0) for key in first.resampled},
        null={key: np.mean([part.null[key] for part in parts], axis=0) for key in first.null},
        jackknife=np.mean([part.jackknife for part in parts], axis=0),
    )


def _agreement(x: Array, y: Array, names: Sequence[str], draws: Draws) -> Agreement:
    """Values, resamples, null and jackknife of finite scores."""
    counts, permuted = draws.counts_of(names), y[draws.permuted(names)]
    return Agreement(
        value={measure.name: measure.of_pool(x, y) for measure in MEASURES},
        resampled={measure.name: measure.of_resamples(x, y, counts) for measure in MEASURES},
        null={measure.name: measure.of_rows(x, permuted) for measure in PRIMARY},
        jackknife=PEARSON.of_resamples(x, y, draws.without_one(names)),
    )


def _undefined(draws: Draws) -> Agreement:
    blank = np.full(len(draws.counts), np.nan)
    return Agreement(
        value={measure.name: float("nan") for measure in MEASURES},
        resampled={measure.name: blank for measure in MEASURES},
        null={measure.name: blank for measure in PRIMARY},
        jackknife=np.full(len(draws.names), np.nan),
    )


def _gaps(rows: pd.DataFrame, finite: NDArray[np.bool_]) -> str:
    """Which sources have no finite score, and why."""
    if finite.all():
        return ""
    bad = rows[~finite]
    told = [f"{name} ({why if isinstance(why, str) and why else 'no score'})" for name, why in bad["reason"].items()]
    return f"no score for {len(bad)} of {len(rows)} sources: {', '.join(told)}"
