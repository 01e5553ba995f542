"""The measures that every table shows, each with its two doors and the way its interval is made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from analysis import agreement, resampled
from analysis.intervals import LEVEL

PAIRS_AT_ONCE = 2**21  # 16 MB a matrix of signs
LARGE_POOL = 100  # from about here one sort a row is faster than all pairs
TOP = 50  # the chance that a resample misses all of the 50 best is exp(-50)
TOP_LEVEL = 0.98  # what covers 95% in `analysis.coverage`
FEW = 15  # below it the ties between copies widen the resamples of a rank measure by themselves


@dataclass(frozen=True)
class Measure:
    """One measure of agreement.

    Attributes:
        name: Its column in every table.
        of_pool: (scores, dice) -> float, for one pool.
        of_resamples: (scores, dice, counts) -> (b,), for many resamples of it.
        primary: It has a permutation p-value and a ceiling.
        chance: Its expected value for a random score, NaN where that depends on the pool.
        expanded_from: Of how many sources on its percentile interval is expanded (`analysis.intervals`).
        level: The confidence that the expansion is made for; more than 0.95 where resamples vary too little, as
            those of a single best source do.
    """

    name: str
    of_pool: Callable[[ArrayLike, ArrayLike], float]
    of_resamples: resampled.Measure
    primary: bool = False
    chance: float = float("nan")
    expanded_from: float = float("inf")
    level: float = LEVEL

    def of_rows(self, scores: resampled.Array, dice: resampled.Array) -> resampled.Array:
        """The measure of many pools of the same size, one a row.

        Args:
            scores: (n,) or (b, n) float64, finite.
            dice: (b, n) float64, finite.

        Returns:
            (b,) float64, NaN where undefined.
        """
        rows, n = dice.shape
        if n > LARGE_POOL:
            scores = np.broadcast_to(scores, dice.shape)
            defined = (np.ptp(scores, axis=1) > 0) & (np.ptp(dice, axis=1) > 0)
            rows_of_both = zip(scores, dice, defined, strict=True)
            return np.array([self.of_pool(x, y) if ok else np.nan for x, y, ok in rows_of_both])
        once = np.ones(n, dtype=np.int64)
        step = max(1, PAIRS_AT_ONCE // n**2)
        blocks = [slice(at, at + step) for at in range(0, rows, step)]
        parts = [(scores if scores.ndim == 1 else scores[block], dice[block]) for block in blocks]
        return np.concatenate([self.of_resamples(x, y, once) for x, y in parts])

    def of_top(self, scores: resampled.Array, dice: resampled.Array, counts: resampled.Counts) -> resampled.Array:
        """The same as `of_resamples` for a measure of the top sources alone, from the best by score and by Dice.

        One of so many is drawn in all but one of 10^20 resamples.

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


PEARSON = Measure("pearson", agreement.pearson, resampled.pearson, primary=True, chance=0.0)
KENDALL = Measure("kendall", agreement.kendall, resampled.kendall, primary=True, chance=0.0)
WEIGHTED_KENDALL = Measure(
    "weighted_kendall",
    agreement.weighted_kendall,
    resampled.weighted_kendall,
    primary=True,
    chance=0.0,
    expanded_from=FEW,
)
PRIMARY = (PEARSON, KENDALL, WEIGHTED_KENDALL)
SPEARMAN = Measure("spearman", agreement.spearman, resampled.spearman, chance=0.0)
CORRELATIONS = (*PRIMARY, SPEARMAN)
MEASURES = (
    *CORRELATIONS,
    Measure("rel_1", partial(agreement.rel_at_k, k=1), resampled.rel_at_1, expanded_from=0, level=TOP_LEVEL),
    Measure("rel_3", partial(agreement.rel_at_k, k=3), resampled.rel_at_3, expanded_from=0),
    Measure("top1_regret", agreement.top1_regret, resampled.top1_regret, expanded_from=0, level=TOP_LEVEL),
    Measure("ndcg", agreement.ndcg, resampled.ndcg, expanded_from=0),
)
