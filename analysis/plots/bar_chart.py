"""Bar chart of one measure of every metric and control."""

import numpy as np
from matplotlib.figure import Figure

from analysis.evaluation.study import MEAN, Study
from analysis.plots.style import BLUE, GREY, ORANGE, SMALL, blank
from analysis.tables.tables import LABELS


def bars(study: Study, *, measure: str = "weighted_kendall", target: str = MEAN) -> Figure:
    """Plot one measure of every metric and control as bars with 95% intervals, and the ceiling as a line.

    Args:
        study: The result of `correlate`.
        measure: pearson, kendall or weighted_kendall.
        target: A target or a mean.

    Returns:
        The figure; metrics above controls, best first; undefined values are labelled and have no bar.
    """
    rows = study.agreement_of(target)
    figure, panel = blank(7.0, 1.4 + 0.22 * len(rows))
    place = np.arange(len(rows))[::-1]
    value = rows[measure].to_numpy(dtype=float)
    ends = rows[[f"{measure}_low", f"{measure}_high"]].to_numpy(dtype=float)
    colours = [BLUE if kind == "metric" else GREY for kind in rows["kind"]]
    panel.barh(place, np.nan_to_num(value), color=colours, height=0.7)
    drawn = np.isfinite(value) & np.isfinite(ends).all(axis=1)
    panel.hlines(place[drawn], *ends[drawn].T, color="black", linewidth=1.2)
    for at in place[~np.isfinite(value)]:
        panel.text(0.01, at, "undefined", va="center", fontsize=SMALL)
    ceiling = float(study.reliability_of(target)[f"{measure}_ceiling"])
    if np.isfinite(ceiling):
        panel.axvline(ceiling, color=ORANGE, linestyle="--", label=f"ceiling {ceiling:.2f}")
        figure.legend(loc="outside upper right", frameon=False, fontsize=SMALL)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(place, [str(name) for name in rows.index], fontsize=SMALL)
    panel.set_xlabel(f"{LABELS[measure]}, {target.replace('_', ' ')} (tuned: {study.tune}); bars with 95% intervals")
    return figure
