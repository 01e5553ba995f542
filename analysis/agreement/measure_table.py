"""The measures shown in every table, each for one pool and for many resamples, and how its interval is computed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from analysis.agreement import bootstrap, rank_measures
from analysis.agreement.bootstrap import Array, Counts, Resamples, Side
from analysis.agreement.intervals import LEVEL, Interval, expanded_interval, percentile_interval

PAIRS_AT_ONCE = 2**17  # 512 KB per array of signs, which stay in the cache of a core
RESAMPLED_AT_ONCE = 2**13  # 64 KB per array of counts: larger ones take twice the time, on fresh pages of memory
TOP_LEVEL = 0.98  # covers 95% in `analysis.coverage`
FEWEST = 6  # sources: with 4 the interval of weighted Kendall would hold 83% (`analysis.coverage`)
FEWEST_OF_TOP = 10  # with 6 those of rel@1, rel@3 and the regret would hold 81% to 88%
FEW = 15  # for fewer sources, ties between copies already widen the resamples of a rank measure


@dataclass(frozen=True)
class Measure:
    """One measure of agreement.

    Attributes:
        name: Its column in every table.
        of_pool: (scores, dice) -> float, for one pool.
        of_all: resamples -> (b,), for many resamples at once.
        expanded_from: The number of sources from which its percentile interval is expanded
            (`analysis.agreement.intervals`).
        fewest: The number of sources from which it has an interval.
        level: The confidence level of the expansion; above 0.95 for measures of the single best source, whose resamples
            vary too little.
    """

    name: str
    of_pool: Callable[[ArrayLike, ArrayLike], float]
    of_all: Callable[[Resamples], Array]
    expanded_from: float = float("inf")
    level: float = LEVEL
    fewest: int = FEWEST

    def of_resamples(self, scores: Array, dice: Array, counts: Counts) -> Array:
        """(b,) the measure of each resample of a pool: scores and dice (n,), counts (b, n)."""
        return measured([self], scores, resample_sides(dice, counts))[self.name]

    def of_rows(self, scores: Array, dice: Array) -> Array:
        """(b,) the measure of many pools of the same size: scores (n,) or (b, n), dice (b, n)."""
        return measured([self], scores, row_sides(dice))[self.name]

    def interval(self, draws: Array, n: float, *, fewest: float = float("inf")) -> Interval:
        """The 95% interval from resamples of the measure, or of its difference between two metrics.

        Args:
            draws: (b,) float64, NaN where undefined.
            n: The number of sources drawn; the mean number for a mean over targets.
            fewest: The smallest number on one of the targets.

        Returns:
            The percentile interval, expanded if n is at least `expanded_from`; undefined below `fewest` sources.
        """
        if min(n, fewest) < self.fewest:
            reason = f"{min(n, fewest):.3g} sources, an interval of {self.name} needs {self.fewest}"
            return Interval(float("nan"), float("nan"), reason)
        if n >= max(self.expanded_from, 2):
            return expanded_interval(draws, n, level=self.level)
        return percentile_interval(draws)


def resample_sides(dice: Array, counts: Counts) -> Iterator[Side]:
    """The Dice (n,) with the counts (b, n) of their resamples, a block of resamples at a time."""
    step = max(1, RESAMPLED_AT_ONCE // counts.shape[-1])
    return (Side(dice, counts[at : at + step]) for at in range(0, len(counts), step))


def row_sides(dice: Array) -> Iterator[Side]:
    """The Dice (b, n) of many pools, one per row, a block of rows at a time."""
    rows, n = dice.shape
    once = np.ones(n, dtype=np.int64)
    step = max(1, PAIRS_AT_ONCE // n**2)
    return (Side(dice[at : at + step], once) for at in range(0, rows, step))


def measured(measures: Sequence[Measure], scores: Array, sides: Iterable[Side]) -> dict[str, Array]:
    """Several measures of the same resamples or rows, which share their matrix products.

    Args:
        measures: The measures.
        scores: (n,) float64, finite; or (b, n), one row for each row of Dice.
        sides: The Dice in blocks; what is computed of a block is kept in it for the next scores.

    Returns:
        Measure -> (b,) float64, NaN where undefined.
    """
    parts, at = [], 0
    x = Side(scores, np.empty(0, dtype=np.int64))
    for y in sides:
        if scores.ndim == 2:
            x, at = Side(scores[at : at + len(y.values)], y.counts), at + len(y.values)
        elif x.counts is not y.counts:
            x = Side(scores, y.counts)
        parts.append([measure.of_all(Resamples(x, y)) for measure in measures])
    return {measure.name: np.concatenate(values) for measure, *values in zip(measures, *parts, strict=True)}


PEARSON = Measure("pearson", rank_measures.pearson, bootstrap.pearson)
KENDALL = Measure("kendall", rank_measures.kendall, bootstrap.kendall)
WEIGHTED_KENDALL = Measure(
    "weighted_kendall", rank_measures.weighted_kendall, bootstrap.weighted_kendall, expanded_from=FEW
)
PRIMARY = (PEARSON, KENDALL, WEIGHTED_KENDALL)  # these have a permutation p-value and a ceiling
MEASURES = (
    *PRIMARY,
    Measure("spearman", rank_measures.spearman, bootstrap.spearman),
    Measure(
        "rel_1",
        partial(rank_measures.rel_at_k, k=1),
        partial(bootstrap.rel_at_k, k=1),
        expanded_from=0,
        level=TOP_LEVEL,
        fewest=FEWEST_OF_TOP,
    ),
    Measure("rel_3", partial(rank_measures.rel_at_k, k=3), partial(bootstrap.rel_at_k, k=3), fewest=FEWEST_OF_TOP),
    Measure(
        "top1_regret",
        rank_measures.top1_regret,
        bootstrap.top1_regret,
        expanded_from=0,
        level=TOP_LEVEL,
        fewest=FEWEST_OF_TOP,
    ),
    Measure("ndcg", rank_measures.ndcg, bootstrap.ndcg, expanded_from=0),
)
