"""Dispersion of the ranks of the sources between targets, and between a target and a scan of another patient.

If ranks hardly vary, a fixed list of sources suffices for every target (`analysis.evaluation.controls`); if they vary,
an estimate can do better than a fixed list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.agreement.rank_measures import kendall
from analysis.truth.pools import Pool

OTHER_PATIENT_COLUMNS = ("target", "tune", "sources", "dice", "external_dice", "kendall")


@dataclass(frozen=True)
class Dispersion:
    """The standard deviation of the ranks between targets.

    Attributes:
        rank_sd: Mean over sources of the standard deviation of the source's rank over the targets; NaN with one target.
        rank_sd_random: The same for random ranks of n sources: sqrt((n^2 - 1) / 12).
    """

    rank_sd: float
    rank_sd_random: float


def rank_table(pools: Sequence[Pool]) -> pd.DataFrame:
    """The ranks of each source by the truth; 1 is the best.

    Args:
        pools: The pools, one per target.

    Returns:
        One row per source, best mean rank first; columns source, targets (number on which it was run), mean_rank,
        rank_sd (NaN for one target), best_rank, worst_rank.

    Example:
        >>> pool = Pool("liver", "last", ("a", "b"), (0,), np.array([[0.25], [0.75]]))
        >>> rank_table([pool])[["source", "mean_rank"]].values.tolist()
        [['b', 1.0], ['a', 2.0]]
    """
    ranks = _ranks(pools)
    return pd.DataFrame(
        {
            "source": ranks.index,
            "targets": ranks.notna().sum(axis=1).to_numpy(),
            "mean_rank": ranks.mean(axis=1).to_numpy(),
            "rank_sd": ranks.std(axis=1, ddof=1).to_numpy(),
            "best_rank": ranks.min(axis=1).to_numpy(),
            "worst_rank": ranks.max(axis=1).to_numpy(),
        }
    ).sort_values(["mean_rank", "source"], kind="stable", ignore_index=True)


def dispersion(pools: Sequence[Pool]) -> Dispersion:
    """The dispersion of the ranks over the targets, and that of random ranks.

    Args:
        pools: The pools, one per target.
    """
    size = float(np.mean([len(pool.sources) for pool in pools]))
    return Dispersion(float(_ranks(pools).std(axis=1, ddof=1).mean()), float(np.sqrt((size**2 - 1) / 12)))


def external_frame(truth: pd.DataFrame) -> pd.DataFrame:
    """Compare the truth with the Dice on another patient with the same organ.

    Args:
        truth: Columns source, target, seed, tune, dice, external_dice (fractions; NaN without another patient).

    Returns:
        One row per target that has another patient: the number of sources, the mean Dice on its own test cases and on
        the other patient, and Kendall's tau between the two rankings of the sources.

    Example:
        >>> rows = [(name, "liver", 0, "all", dice, dice - 0.4) for name, dice in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
        >>> frame = pd.DataFrame(rows, columns=["source", "target", "seed", "tune", "dice", "external_dice"])
        >>> external_frame(frame)[["target", "sources", "kendall"]].values.tolist()
        [['liver', 3, 1.0]]
    """
    known = truth[truth["external_dice"].notna()]
    rows = []
    for (target, tune), part in known.groupby(["target", "tune"], sort=False):
        means = part.groupby("source")[["dice", "external_dice"]].mean()
        tau = kendall(means["dice"].to_numpy(), means["external_dice"].to_numpy())
        rows.append((target, tune, len(means), means["dice"].mean(), means["external_dice"].mean(), tau))
    return pd.DataFrame(rows, columns=list(OTHER_PATIENT_COLUMNS))


def external_lines(frame: pd.DataFrame) -> list[str]:
    """The result of `external_frame` in words, one line per target."""
    return [
        f"another patient, {row.target} (tuned: {row.tune}): mean Dice {row.external_dice:.2f} against {row.dice:.2f} "
        f"on its own scan; Kendall's tau between the two rankings of {row.sources} sources: {row.kendall:.2f}"
        for row in frame.itertuples()
    ]


def _ranks(pools: Sequence[Pool]) -> pd.DataFrame:
    """Source x target, NaN outside a pool."""
    return pd.DataFrame({pool.target: pd.Series(-pool.mean, index=list(pool.sources)).rank() for pool in pools})
