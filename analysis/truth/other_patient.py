"""Dice of the fine-tuned networks on a scan of another patient, compared with the truth."""

import pandas as pd

from analysis.agreement.rank_measures import kendall

COLUMNS = ("target", "tune", "sources", "dice", "external_dice", "kendall")


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
    return pd.DataFrame(rows, columns=list(COLUMNS))


def external_lines(frame: pd.DataFrame) -> list[str]:
    """The result of `external_frame` in words, one line per target."""
    return [
        f"another patient, {row.target} (tuned: {row.tune}): mean Dice {row.external_dice:.2f} against {row.dice:.2f} "
        f"on its own scan; Kendall's tau between the two rankings of {row.sources} sources: {row.kendall:.2f}"
        for row in frame.itertuples()
    ]
