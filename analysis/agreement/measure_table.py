"""The measures shown in every table, each for one pool and for many resamples, and how its interval is computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from analysis.agreement import bootstrap, rank_measures
from analysis.agreement.bootstrap import Array, Counts, Resamples
from analysis.agreement.intervals import LEVEL, Interval, expanded_interval, percentile_interval

PAIRS_AT_ONCE = 2**17  # 512 KB per array of signs, which stay in the cache of a core
TOP_LEVEL = 0.98  # covers 95% in `analysis.coverage`
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
        level: The confidence level of the expansion; above 0.95 for measures of the single best source, whose resamples
            vary too little.
    """

    name: str
    of_pool: Callable[[ArrayLike, ArrayLike], float]
    of_all: Callable[[Resamples], Array]
    expanded_from: float = float("inf")
    level: float = LEVEL

    def of_resamples(self, scores: Array, dice: Array, counts: Counts) -> Array:
        """(b,) the measure of each resample of a pool; arguments as in `Resamples`."""
        return self.of_all(Resamples(scores, dice, counts))

    def of_rows(self, scores: Array, dice: Array) -> Array:
        """(b,) the measure of many pools of the same size; arguments as in `of_rows`."""
        return of_rows([self], scores, dice)[self.name]

    def interval(self, draws: Array, n: float) -> Interval:
        """The 95% interval from resamples of the measure, or of its difference between two metrics.

        Args:
            draws: (b,) float64, NaN where undefined.
            n: The number of sources drawn; the mean number for a mean over targets.

        Returns:
            The percentile interval, expanded if n is at least `expanded_from`.
        """
        if n >= max(self.expanded_from, 2):
            return expanded_interval(draws, n, level=self.level)
        return percentile_interval(draws)


def of_resamples(measures: Sequence[Measure], scores: Array, dice: Array, counts: Counts) -> dict[str, Array]:
    """Several measures of the same resamples, which share their matrix products: measure -> (b,) float64."""
    resamples = Resamples(scores, dice, counts)
    return {measure.name: measure.of_all(resamples) for measure in measures}


def of_rows(measures: Sequence[Measure], scores: Array, dice: Array) -> dict[str, Array]:
    """Several measures of many pools of the same size, one per row, a block of rows at a time.

    Args:
        measures: The measures.
        scores: (n,) or (b, n) float64, finite.
        dice: (b, n) float64, finite.

    Returns:
        Measure -> (b,) float64, NaN where undefined.
    """
    rows, n = dice.shape
    once = np.ones(n, dtype=np.int64)
    step = max(1, PAIRS_AT_ONCE // n**2)
    blocks = [slice(at, at + step) for at in range(0, rows, step)]
    parts = [
        of_resamples(measures, scores if scores.ndim == 1 else scores[block], dice[block], once) for block in blocks
    ]
    return {measure.name: np.concatenate([part[measure.name] for part in parts]) for measure in measures}


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
    ),
    Measure("rel_3", partial(rank_measures.rel_at_k, k=3), partial(bootstrap.rel_at_k, k=3)),
    Measure("top1_regret", rank_measures.top1_regret, bootstrap.top1_regret, expanded_from=0, level=TOP_LEVEL),
    Measure("ndcg", rank_measures.ndcg, bootstrap.ndcg, expanded_from=0),
)
