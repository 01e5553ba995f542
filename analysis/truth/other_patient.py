"""Another patient beside the truth: the Dice of the same fine-tuned networks on a scan that no case derives from."""

import pandas as pd

from analysis.agreement.rank_measures import kendall

COLUMNS = ("target", "tune", "sources", "dice", "external_dice", "kendall")


def external_frame(truth: pd.DataFrame) -> pd.DataFrame:
    """How the truth carries over to another patient with the same organ.

    Args:
        truth: Columns source, target, seed, tune, dice, external_dice (fractions; NaN without another patient).

    Returns:
        One row a target that has another patient: its sources, the mean Dice of its own test cases and of the other
        patient's, and Kendall's tau between the rankings of the sources by the two.

    Example:
        >>> rows = [(name, "liver", 0, "all", dice, dice - 0.4) for name, dice in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
        >>> frame = pd.DataFrame(rows, columns=["source", "target", "seed", "tune", "dice", "external_dice"])
        >>> external_frame(frame)[["target", "sources", "kendall"]].values.tolist()
        [['liver', 3, 1.0]]
    """
    held = truth[truth["external_dice"].notna()]
    rows = []
    for (target, tune), part in held.groupby(["target", "tune"], sort=False):
        means = part.groupby("source")[["dice", "external_dice"]].mean()
        tau = kendall(means["dice"].to_numpy(), means["external_dice"].to_numpy())
        rows.append((target, tune, len(means), means["dice"].mean(), means["external_dice"].mean(), tau))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def external_lines(frame: pd.DataFrame) -> list[str]:
    """What `external_frame` found, a line a target."""
    return [
        f"another patient, {row.target} (tuned: {row.tune}): mean Dice {row.external_dice:.2f} beside {row.dice:.2f} "
        f"on its own scan; Kendall's tau between the two rankings of {row.sources} sources {row.kendall:.2f}"
        for row in frame.itertuples()
    ]
