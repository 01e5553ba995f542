"""The measures that every table shows, each with its two doors and the way its interval is made."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from analysis import agreement, resampled

PAIRS_AT_ONCE = 2**21  # 16 MB a matrix of signs
LARGE_POOL = 100  # from about here one sort a row is faster than all pairs


@dataclass(frozen=True)
class Measure:
    """One measure of agreement.

    Attributes:
        name: Its column in every table.
        of_pool: (scores, dice) -> float, for one pool.
        of_resamples: (scores, dice, counts) -> (b,), for many resamples of it.
        primary: It has a permutation p-value and a ceiling.
        chance: Its expected value for a random score, NaN where that depends on the pool.
    """

    name: str
    of_pool: Callable[[ArrayLike, ArrayLike], float]
    of_resamples: resampled.Measure
    primary: bool = False
    chance: float = float("nan")

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


PEARSON = Measure("pearson", agreement.pearson, resampled.pearson, primary=True, chance=0.0)
KENDALL = Measure("kendall", agreement.kendall, resampled.kendall, primary=True, chance=0.0)
WEIGHTED_KENDALL = Measure(
    "weighted_kendall", agreement.weighted_kendall, resampled.weighted_kendall, primary=True, chance=0.0
)
PRIMARY = (PEARSON, KENDALL, WEIGHTED_KENDALL)
MEASURES = (
    *PRIMARY,
    Measure("spearman", agreement.spearman, resampled.spearman, chance=0.0),
    Measure("rel_1", partial(agreement.rel_at_k, k=1), resampled.rel_at_1),
    Measure("rel_3", partial(agreement.rel_at_k, k=3), resampled.rel_at_3),
    Measure("top1_regret", agreement.top1_regret, resampled.top1_regret),
    Measure("ndcg", agreement.ndcg, resampled.ndcg),
)
