"""Rank the sources for one target, with intervals and the agreement between estimates.

The scales of different estimates cannot be compared, so sources are ordered by their standing: the share of the other
sources that a source beats (a tie counts half), averaged over the estimates that are defined for it. All figures are
recomputed on each resample of the cases, shared by all sources and estimates, which gives intervals and the share of
resamples in which a source ranks first. These show how much the order depends on the choice of cases; whether an
estimate predicts the Dice after fine-tuning is measured by the study (`analysis.evaluation`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.agreement.rank_measures import kendall, why_undefined

Array = NDArray[np.float64]

STANDING = "standing"
LEVEL = 0.95
# A source that overtakes the first in a larger share of the resamples cannot be told apart from it.
APART = 0.025


@dataclass(frozen=True)
class Scores:
    """The scores of a pool.

    Attributes:
        sources: (n,) names.
        metrics: Metric -> (n,) scores, higher is better, NaN where undefined.
        draws: Metric -> (b, n) scores of each resample, NaN where undefined; b may differ between metrics, but the
            first resamples are the same.
        kind: How the resamples were made: "bootstrap", "leave-one-out" or "none".
        cases: The number of cases.
        halves: Metric -> (2, n) scores of two halves of the cases; (0, n) where there are none.
    """

    sources: Sequence[str]
    metrics: Mapping[str, Array]
    draws: Mapping[str, Array]
    kind: str
    cases: int
    halves: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Ranking:
    """The ranking of the sources.

    Attributes:
        by: What orders the sources: "standing" or a metric.
        table: One row per source, best first: place, source, and for the standing and each metric its value, _low,
            _high and _first (the share of resamples in which the source ranks first).
        agreement: Kendall's tau-b between the scores of each pair of metrics, including the standing.
        level: The sources that cannot be told apart from the first, including the first.
        verdict: The result in words.
        draws: The number of resamples of `by`.
        scores: The scores that were ranked.
    """

    by: str
    table: pd.DataFrame
    agreement: pd.DataFrame
    level: Sequence[str]
    verdict: str
    draws: int
    scores: Scores

    @property
    def first(self) -> str:
        """The source that ranks first."""
        return str(self.table["source"].iloc[0])


def rank_sources(scores: Scores, *, by: str = STANDING) -> Ranking:
    """Rank the sources.

    Args:
        scores: The scores of all sources by all metrics.
        by: "standing" or a metric.

    Raises:
        ValueError: `by` is not "standing" or a metric, or there is no source.

    Example:
        >>> values = {"logme": np.array([0.1, 0.3, 0.2])}
        >>> ranking = rank_sources(Scores(("a", "b", "c"), values, {}, "none", 1))
        >>> ranking.table["source"].tolist(), ranking.table["standing"].tolist()
        (['b', 'c', 'a'], [1.0, 0.5, 0.0])
    """
    if not len(scores.sources):
        raise ValueError("`scores` must contain at least one source, got none")
    values = dict(scores.metrics) | {STANDING: standing(np.array(list(scores.metrics.values())))}
    if by not in values:
        raise ValueError(f"`by` must be one of {', '.join(values)}, got {by}")
    draws = {name: drawn for name, drawn in scores.draws.items() if len(drawn)}
    if draws:
        draws[STANDING] = _drawn_standing(scores, draws)
    columns: dict[str, object] = {"source": list(scores.sources)}
    for name in (STANDING, *scores.metrics):
        columns |= _columns(name, values[name], draws.get(name), scores.kind)
    order = np.argsort(-np.nan_to_num(values[by], nan=-np.inf), kind="stable")
    table = pd.DataFrame(columns).iloc[order].reset_index(drop=True)
    table.insert(0, "place", _places(values[by][order]))
    level, number = _level(np.asarray(order), values[by], draws.get(by), scores.sources), len(draws.get(by, ()))
    return Ranking(by, table, _agreement(values), level, _verdict(table, level, by, scores, number), number, scores)


def standing(values: Array) -> Array:
    """The mean over metrics of the share of the other sources that each source beats.

    Args:
        values: (..., n) with the metrics along the first axis; NaN where undefined.

    Returns:
        (..., n) without the first axis, in [0, 1]; NaN for a source that no metric compares with another.

    Example:
        >>> standing(np.array([[1.0, 2.0, 2.0], [np.nan, 1.0, 5.0]])).tolist()
        [0.0, 0.375, 0.875]
    """
    difference = values[..., :, None] - values[..., None, :]
    known = np.isfinite(difference)
    beaten = np.where(known, (np.sign(np.where(known, difference, 0.0)) + 1) / 2, 0.0).sum(axis=-1) - 0.5
    others = known.sum(axis=-1) - 1
    share = np.where(others > 0, beaten / np.maximum(others, 1), np.nan)
    defined = np.isfinite(share)
    total = np.where(defined, share, 0.0).sum(axis=0)
    return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)


def share_first(drawn: Array) -> Array:
    """The share of resamples in which each source ranks first; tied sources share a resample equally.

    Args:
        drawn: (b, n) scores of each resample; NaN never ranks first.

    Returns:
        (n,) shares of the resamples in which at least one source has a score; NaN if there is no such resample.

    Example:
        >>> share_first(np.array([[1.0, 2.0], [2.0, 2.0]])).tolist()
        [0.25, 0.75]
    """
    filled = np.where(np.isnan(drawn), -np.inf, drawn)
    best = filled.max(axis=1, keepdims=True)
    rows = np.isfinite(best[:, 0])
    if not rows.any():
        return np.full(drawn.shape[1], np.nan)
    top = (filled == best)[rows]
    return cast("Array", (top / top.sum(axis=1, keepdims=True)).mean(axis=0))


def _drawn_standing(scores: Scores, draws: Mapping[str, Array]) -> Array:
    """The standing in each resample common to all resampled metrics; metrics without resamples keep their scores."""
    number = min(map(len, draws.values()))
    rows = {name: np.tile(values, (number, 1)) for name, values in scores.metrics.items()}
    rows |= {name: drawn[:number] for name, drawn in draws.items()}
    return standing(np.array(list(rows.values())))


def _columns(name: str, values: Array, drawn: Array | None, kind: str) -> dict[str, Array]:
    ends, first = np.full((2, len(values)), np.nan), np.full(len(values), np.nan)
    if drawn is not None:
        # leaving one case out gives few resamples: their range, with the score itself
        rows, tail = (np.vstack([drawn, values]), 0.0) if kind == "leave-one-out" else (drawn, (1 - LEVEL) / 2)
        defined = np.isfinite(drawn).any(axis=0)
        ends[:, defined] = np.nanquantile(rows[:, defined], [tail, 1 - tail], axis=0)
        first = share_first(drawn)
    return {name: values, f"{name}_low": ends[0], f"{name}_high": ends[1], f"{name}_first": first}


def _places(ordered: Array) -> list[int | None]:
    """Places from 1; tied sources share a place, sources with NaN have none."""
    return [None if np.isnan(value) else int((ordered > value).sum()) + 1 for value in ordered]


def _level(order: NDArray[np.int64], values: Array, drawn: Array | None, sources: Sequence[str]) -> list[str]:
    """The first source, and those that tie with it or overtake it in too many resamples."""
    top = int(order[0])
    level = [sources[top]]
    for place in order[1:]:
        if np.isnan(values[place]):
            continue
        tied = values[place] == values[top]
        if drawn is None:
            overtakes = tied
        else:
            both = np.isfinite(drawn[:, [top, place]]).all(axis=1)
            share = float((drawn[both, place] >= drawn[both, top]).mean()) if both.any() else 1.0
            overtakes = tied or share > APART
        if overtakes:
            level.append(sources[int(place)])
    return level


def _verdict(table: pd.DataFrame, level: Sequence[str], by: str, scores: Scores, draws: int) -> str:
    if len(scores.sources) == 1:
        return f"{table['source'].iloc[0]} is the only source, so there is no ranking."
    if not np.isfinite(table[by].iloc[0]):
        return f"No source has a defined {by}, so there is no ranking."
    first = str(table["source"].iloc[0])
    if scores.kind == "none" or not draws:
        return f"{first} ranks first. How certain this is cannot be estimated from {scores.cases} case(s)."
    share = float(table[f"{by}_first"].iloc[0])
    sets = "resamples of the cases" if scores.kind == "bootstrap" else "sets that leave one case out"
    ranks = f"{first} ranks first in {share:.0%} of {draws} {sets}"
    if len(level) == 1:
        return f"{ranks}, and no other source overtakes it in more than {APART:.1%} of them."
    names = ", ".join(level[:-1]) + f" and {level[-1]}"
    return f"{names} cannot be told apart: {ranks}. Fine-tune more than one of them, or score more cases."


def _agreement(values: Mapping[str, Array]) -> pd.DataFrame:
    names = [STANDING, *(name for name in values if name != STANDING)]
    table = pd.DataFrame(np.nan, index=names, columns=names)
    for a, b in product(names, names):
        known = np.isfinite(values[a]) & np.isfinite(values[b])
        x, y = values[a][known], values[b][known]
        table.loc[a, b] = np.nan if why_undefined(x, y) else kendall(x, y)
    return table
