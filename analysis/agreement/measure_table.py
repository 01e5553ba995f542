"""The measures shown in every table, each for one pool and for many resamples, and how its interval is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from analysis.agreement import bootstrap as resampled
from analysis.agreement import rank_measures as agreement
from analysis.agreement.intervals import LEVEL, Interval, expanded_interval, percentile_interval
from analysis.evaluation import untied

PAIRS_AT_ONCE = 2**21  # 16 MB per matrix of signs
LARGE_POOL = 100  # above about this size one sort per row is faster than all pairs
TOP = 25  # the probability that a resample has fewer than three copies of the best 25 is 1e-8
TOP_LEVEL = 0.98  # covers 95% in `analysis.coverage`
FEW = 15  # for fewer sources, ties between copies already widen the resamples of a rank measure


@dataclass(frozen=True)
class Measure:
    """One measure of agreement.

    Attributes:
        name: Its column in every table.
        of_pool: (scores, dice) -> float, for one pool.
        of_resamples: (scores, dice, counts) -> (b,), for many resamples of it.
        primary: Whether it has a permutation p-value and a ceiling.
        chance: Its expected value for a random score; NaN if that depends on the pool.
        expanded_from: The number of sources from which its percentile interval is expanded
            (`analysis.agreement.intervals`).
        level: The confidence level of the expansion; above 0.95 for measures of the single best source, whose resamples
            vary too little.
        pairs: Whether `of_resamples` uses all pairs of sources.
        of_untied: A faster equivalent of `of_pool` for scores and Dice without ties, or None.
    """

    name: str
    of_pool: Callable[[ArrayLike, ArrayLike], float]
    of_resamples: resampled.Measure
    primary: bool = False
    chance: float = float("nan")
    expanded_from: float = float("inf")
    level: float = LEVEL
    pairs: bool = True
    of_untied: Callable[[resampled.Array, resampled.Array], float] | None = None

    def of_rows(self, scores: resampled.Array, dice: resampled.Array) -> resampled.Array:
        """The measure of many pools of the same size, one per row.

        Args:
            scores: (n,) or (b, n) float64, finite.
            dice: (b, n) float64, finite.

        Returns:
            (b,) float64, NaN where undefined.
        """
        rows, n = dice.shape
        if n > LARGE_POOL and self.pairs:
            return np.array(
                [self._of_large(x, y) for x, y in zip(np.broadcast_to(scores, dice.shape), dice, strict=True)]
            )
        once = np.ones(n, dtype=np.int64)
        step = max(1, PAIRS_AT_ONCE // n**2)
        blocks = [slice(at, at + step) for at in range(0, rows, step)]
        parts = [(scores if scores.ndim == 1 else scores[block], dice[block]) for block in blocks]
        return np.concatenate([self.of_resamples(x, y, once) for x, y in parts])

    def _of_large(self, scores: resampled.Array, dice: resampled.Array) -> float:
        different = [len(np.unique(values)) for values in (scores, dice)]
        if min(different) == 1:
            return float("nan")
        if self.of_untied is not None and min(different) == len(scores):
            return self.of_untied(scores, dice)
        return self.of_pool(scores, dice)

    def interval(self, draws: resampled.Array, n: float) -> Interval:
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

    def of_top(self, scores: resampled.Array, dice: resampled.Array, counts: resampled.Counts) -> resampled.Array:
        """The same as `of_resamples` for a measure that depends only on the top sources by score and by Dice.

        Args:
            scores: (n,) float64, finite.
            dice: (n,) float64, finite.
            counts: (b, n) int64, how often each source was drawn.

        Returns:
            (b,) float64.
        """
        by_score, by_dice = (np.lexsort(keys)[:TOP] for keys in ((dice, -scores), (-dice,)))
        top = np.union1d(by_score, by_dice)
        return self.of_resamples(scores[top], dice[top], counts[:, top])


PEARSON = Measure("pearson", agreement.pearson, resampled.pearson, primary=True, chance=0.0, pairs=False)
KENDALL = Measure("kendall", agreement.kendall, resampled.kendall, primary=True, chance=0.0, of_untied=untied.kendall)
WEIGHTED_KENDALL = Measure(
    "weighted_kendall",
    agreement.weighted_kendall,
    resampled.weighted_kendall,
    primary=True,
    chance=0.0,
    expanded_from=FEW,
    of_untied=untied.weighted_kendall,
)
PRIMARY = (PEARSON, KENDALL, WEIGHTED_KENDALL)
SPEARMAN = Measure("spearman", agreement.spearman, resampled.spearman, chance=0.0)
CORRELATIONS = (*PRIMARY, SPEARMAN)
MEASURES = (
    *CORRELATIONS,
    Measure(
        "rel_1", partial(agreement.rel_at_k, k=1), resampled.rel_at_1, expanded_from=0, level=TOP_LEVEL, pairs=False
    ),
    Measure("rel_3", partial(agreement.rel_at_k, k=3), resampled.rel_at_3, pairs=False),
    Measure("top1_regret", agreement.top1_regret, resampled.top1_regret, expanded_from=0, level=TOP_LEVEL, pairs=False),
    Measure("ndcg", agreement.ndcg, resampled.ndcg, expanded_from=0),
)
