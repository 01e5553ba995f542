"""How much the ranks of the sources move from target to target.

Ranks that stay put mean that a fixed list of sources answers every target (`analysis.evaluation.controls`); ranks that
move leave an estimate something to find.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.truth.pools import Pool


@dataclass(frozen=True)
class Dispersion:
    """The movement of the ranks in one number.

    Attributes:
        rank_sd: Mean over sources of the standard deviation of the source's rank over the targets; NaN with one target.
        rank_sd_random: The same if each target ranked its n sources at random: sqrt((n^2 - 1) / 12).
    """

    rank_sd: float
    rank_sd_random: float


def rank_table(pools: Sequence[Pool]) -> pd.DataFrame:
    """The ranks of each source by the truth, 1 being the best.

    Args:
        pools: The pools, one a target.

    Returns:
        One row a source, the best mean rank first; columns source, targets (on which it was run), mean_rank, rank_sd
        (NaN on one target), best_rank, worst_rank.

    Example:
        >>> pool = Pool("liver", "last", ("a", "b"), (0,), np.array([[0.25], [0.75]]))
        >>> rank_table([pool])[["source", "mean_rank"]].values.tolist()
        [['b', 1.0], ['a', 2.0]]
    """
    ranks = _ranks(pools)
    found = pd.DataFrame(
        {
            "source": ranks.index,
            "targets": ranks.notna().sum(axis=1).to_numpy(),
            "mean_rank": ranks.mean(axis=1).to_numpy(),
            "rank_sd": ranks.std(axis=1, ddof=1).to_numpy(),
            "best_rank": ranks.min(axis=1).to_numpy(),
            "worst_rank": ranks.max(axis=1).to_numpy(),
        }
    )
    return found.sort_values(["mean_rank", "source"], kind="stable", ignore_index=True)


def dispersion(pools: Sequence[Pool]) -> Dispersion:
    """The movement of the ranks over the targets, beside that of random ranks.

    Args:
        pools: The pools, one a target.

    Returns:
        The dispersion.
    """
    size = float(np.mean([len(pool.sources) for pool in pools]))
    return Dispersion(float(_ranks(pools).std(axis=1, ddof=1).mean()), float(np.sqrt((size**2 - 1) / 12)))


def _ranks(pools: Sequence[Pool]) -> pd.DataFrame:
    """Source x target, NaN outside a pool."""
    return pd.DataFrame({pool.target: pd.Series(-pool.mean, index=list(pool.sources)).rank() for pool in pools})
