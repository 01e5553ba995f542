"""Budget of networks trained from scratch: whether the study's steps are enough for them.

If a network from scratch is still far from what more steps give it, the gain over it is a matter of the budget and not
of pre-training. So it is also trained for a multiple of the study's steps (`suite.longer`). Where its Dice at the
study's budget is below 85% of that, the sources of its architecture and width are not counted in the gain on that
target.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.truth.pools import SCRATCH, Pool

ENOUGH = 0.85  # smallest share of the Dice after longer training
BUDGET_COLUMNS = ("target", "arch", "width", "factor", "scratch_dice", "longer_dice", "share", "enough", "reason")
LONGER_COLUMNS = ("source", "target", "seed", "tune", "dice", "factor")
NO_RUN = "no run of longer training"
Place = tuple[str, str, int]  # target, architecture and width


def no_longer_runs() -> pd.DataFrame:
    """A frame of longer training without rows."""
    return pd.DataFrame(columns=list(LONGER_COLUMNS))


def budget_table(pools: Sequence[Pool], sources: pd.DataFrame, longer: pd.DataFrame) -> pd.DataFrame:
    """Compare scratch at the study's budget with scratch after longer training, by target, architecture and width.

    Args:
        pools: The pools, one per target, all tuned alike.
        sources: Columns source, arch, width, length ("scratch" for a network that was not pre-trained).
        longer: Columns `LONGER_COLUMNS`: one row per longer fine-tuning; `factor` is the multiple of the study's steps.

    Returns:
        Columns `BUDGET_COLUMNS`; Dice as fractions, over the fine-tuning seeds that both have, or over all if none.
        `enough` is "yes", "no", or "" without a run of longer training. Empty if `longer` is.

    Example:
        >>> pool = Pool("liver", "all", ("a",), (0, 1), np.array([[0.5, 0.25]]))
        >>> sources = pd.DataFrame({"source": ["a"], "arch": "unet", "width": 8, "length": "scratch"})
        >>> longer = pd.DataFrame([("a", "liver", 0, "all", 0.625, 4.0)], columns=list(LONGER_COLUMNS))
        >>> budget_table([pool], sources, longer)[["share", "enough"]].values.tolist()
        [[0.8, 'no']]
    """
    if longer.empty:
        return pd.DataFrame(columns=list(BUDGET_COLUMNS))
    rows = []
    for pool in pools:
        facts = sources[sources["source"].isin(pool.sources) & (sources["length"] == SCRATCH)]
        runs = longer[(longer["target"] == pool.target) & (longer["tune"] == pool.tune) & longer["dice"].notna()]
        for _, part in facts.groupby(["arch", "width"], sort=True):
            arch, width = str(part["arch"].iloc[0]), int(part["width"].iloc[0])
            pairs = [_pair(pool, str(source), runs) for source in part["source"]]
            factors = runs.loc[runs["source"].isin(part["source"]), "factor"]
            row = {"target": pool.target, "arch": arch, "width": width, "factor": float(factors.max())}
            rows.append(row | _shares([pair for pair in pairs if pair]))
    return pd.DataFrame(rows, columns=list(BUDGET_COLUMNS))


def starved(budget: pd.DataFrame) -> dict[Place, str]:
    """Target, architecture and width where the budget is not enough -> what scratch reaches.

    Args:
        budget: The result of `budget_table`.
    """
    rows = budget[budget["enough"] == "no"] if len(budget) else budget
    return {
        (str(row["target"]), str(row["arch"]), int(row["width"])): (
            f"{row['arch']} of width {row['width']} from scratch has {100 * row['share']:.1f}% of its Dice after "
            f"{row['factor']:g} times the steps"
        )
        for row in rows.to_dict("records")
    }


def _pair(pool: Pool, source: str, runs: pd.DataFrame) -> tuple[float, float] | None:
    """The Dice at the study's budget and after longer training; None without longer training."""
    later = runs[runs["source"] == source].set_index("seed")["dice"]
    if later.empty:
        return None
    dice = pd.Series(pool.dice[pool.sources.index(source)], index=list(pool.seeds))
    common = dice.index.intersection(later.index)
    if len(common):
        dice, later = dice[common], later[common]
    return float(dice.mean()), float(later.mean())


def _shares(pairs: Sequence[tuple[float, float]]) -> dict[str, object]:
    """The columns from `scratch_dice` on, from the Dice at the study's budget and after longer training."""
    if not pairs:
        return {"scratch_dice": np.nan, "longer_dice": np.nan, "share": np.nan, "enough": "", "reason": NO_RUN}
    dice, later = map(float, np.mean(pairs, axis=0))
    return {
        "scratch_dice": dice,
        "longer_dice": later,
        "share": dice / later if later else np.nan,
        "enough": "yes" if dice >= ENOUGH * later else "no",
        "reason": "" if later else "Dice 0 after both",
    }
