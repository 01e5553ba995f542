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

from analysis.agreement.measure_table import PEARSON
from analysis.agreement.rank_measures import why_undefined
from analysis.evaluation.prepared_truth import Agreement, Yardstick
from analysis.truth.pools import Pool

Array = NDArray[np.float64]
Missing = Literal["nan", "leave_out"]


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
        score_ties: The share of pairs of counted sources whose scores are equal; NaN below two of them.
        dice_ties: The same for their Dice.
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
    score_ties: float
    dice_ties: float
    seconds: float
    reason: str
    agreement: Agreement


def evaluate(
    pool: Pool, scores: pd.DataFrame, *, metric: str, yardstick: Yardstick, missing: Missing = "nan"
) -> Evaluation:
    """Agreement of one metric with the truth of one pool.

    Args:
        pool: The truth.
        scores: The rows of this metric and this target, indexed by source; columns score, reason, seconds. A source
            without a row has no score.
        metric: Its name.
        yardstick: The pool's Dice with its draws.
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
    return Evaluation(
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
        agreement=yardstick.undefined() if undefined else yardstick.only(kept).agreement(x[kept]),
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
        score_ties=float(np.mean([part.score_ties for part in parts])),
        dice_ties=float(np.mean([part.dice_ties for part in parts])),
        seconds=float(np.mean([part.seconds for part in parts])),
        reason=told[0] + ", ".join(told[1]) if told[1] else "",
        agreement=_mean([part.agreement for part in parts]),
    )


def gap_table(pools: Sequence[Pool], scores: pd.DataFrame) -> pd.DataFrame:
    """Every source of a pool that a metric or control has no finite score for.

    Args:
        pools: The pools.
        scores: Columns source, target, metric, score, reason, kind.

    Returns:
        Columns metric, kind, target, source, reason.
    """
    kinds = scores.drop_duplicates("metric")[["metric", "kind"]]
    places = pd.DataFrame([(pool.target, source) for pool in pools for source in pool.sources])
    every = kinds.merge(places.set_axis(["target", "source"], axis=1), how="cross")
    held = scores[["metric", "target", "source", "score", "reason"]]
    found = every.merge(held, how="left", on=["metric", "target", "source"])
    bad = found[~np.isfinite(found["score"].to_numpy(dtype=np.float64))]
    told = [_why(reason) for reason in bad["reason"]]
    columns = {name: bad[name].to_list() for name in ("metric", "kind", "target", "source")}
    return pd.DataFrame(columns | {"reason": told})


def tied_share(values: Array) -> float:
    """The share of the pairs that are exactly level.

    Args:
        values: (n,) float64.

    Returns:
        A number in [0, 1]; NaN for fewer than two values.

    Example:
        >>> tied_share(np.array([1.0, 1.0, 2.0]))
        0.3333333333333333
    """
    _, size = np.unique(values, return_counts=True)
    pairs = len(values) * (len(values) - 1)
    return float((size * (size - 1)).sum() / pairs) if pairs else float("nan")


def _mean(parts: Sequence[Agreement]) -> Agreement:
    """The mean of each entry, draw by draw."""
    first = parts[0]
    return Agreement(
        value={key: float(np.mean([part.value[key] for part in parts])) for key in first.value},
        resampled=_means([part.resampled for part in parts]),
        null=_means([part.null for part in parts]),
        jackknife=_means([part.jackknife for part in parts]),
        luck={
            kind: _means([part.luck[kind] for part in parts])
            for kind in first.luck
            if all(kind in part.luck for part in parts)
        },
    )


def _means(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {key: np.mean([part[key] for part in parts], axis=0) for key in parts[0]}


def _gaps(rows: pd.DataFrame, finite: NDArray[np.bool_]) -> str:
    """Which sources have no finite score, and why."""
    if finite.all():
        return ""
    bad = rows[~finite]
    told = [f"{name} ({_why(reason)})" for name, reason in bad["reason"].items()]
    return f"no score for {len(bad)} of {len(rows)} sources: {', '.join(told)}"


def _why(reason: object) -> str:
    return reason if isinstance(reason, str) and reason else "no score"
