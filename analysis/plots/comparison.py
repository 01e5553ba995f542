"""Comparisons of metrics: the critical-difference diagram, and agreement against cost."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.agreement.critical_difference import CriticalDifference
from analysis.evaluation.study import MEAN, Study
from analysis.plots.style import BLUE, GREY, ORANGE, SMALL, TINY, blank

STEP = 0.22  # inches per name


def rank_diagram(found: CriticalDifference) -> Figure:
    """Plot the critical-difference diagram: mean ranks on a line, a bar over each group that does not differ.

    Args:
        found: The result of `critical_difference`, with a defined difference.

    Returns:
        The figure; names of the better half on the left, of the worse half on the right.

    Raises:
        ValueError: The difference is undefined.
    """
    if not np.isfinite(found.difference):
        raise ValueError(f"`found` must have a critical difference, got NaN: {found.reason}")
    names, values = list(found.ranks), np.array(list(found.ranks.values()))
    k, cliques, half = len(names), found.cliques, (len(names) + 1) // 2
    figure, panel = blank(7.5, 1.0 + STEP * (half + len(cliques)))
    panel.set_ylim(-half - len(cliques) - 0.6, 0)
    panel.set_xlim(1 - 0.55 * k, k + 0.55 * k)
    panel.spines[["left", "bottom"]].set_visible(False)
    panel.set_xticks([])
    panel.set_yticks([])
    _ruler(panel, k, found.difference)
    for line, clique in enumerate(cliques):
        ends = found.ranks[clique[0]] - 0.06, found.ranks[clique[-1]] + 0.06
        panel.plot(ends, [-0.7 - line] * 2, color=ORANGE, linewidth=3, solid_capstyle="round")
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        left = place < half
        depth = -len(cliques) - 1.0 - (place if left else k - 1 - place)
        edge = 0.7 - 0.02 * k if left else k + 0.3 + 0.02 * k
        panel.plot([value, value, edge], [0, depth, depth], color="black", linewidth=0.7)
        text = f"{name}  {value:.1f}" if left else f"{value:.1f}  {name}"
        panel.text(edge, depth, text, ha="right" if left else "left", va="center", fontsize=SMALL)
    return figure


def cost_plot(study: Study) -> Figure:
    """Plot agreement against cost, one point per metric with its 95% interval, and the Pareto front.

    Args:
        study: The result of `correlate`.

    Returns:
        The figure; the static leaderboard, which costs nothing, is a dashed line. Metrics without a defined agreement
        or cost are left out.
    """
    rows = study.agreement_of(MEAN)
    drawn = rows[(rows["kind"] == "metric") & rows["weighted_kendall"].notna() & (rows["seconds"] > 0)]
    figure, panel = blank(7.5, max(3.2, 1.0 + 0.17 * len(drawn)))
    x, y = drawn["seconds"].to_numpy(dtype=float), drawn["weighted_kendall"].to_numpy(dtype=float)
    panel.vlines(x, drawn["weighted_kendall_low"], drawn["weighted_kendall_high"], color=GREY, linewidth=0.7, alpha=0.6)
    panel.plot(x, y, linestyle="none", marker="o", color=BLUE, markersize=5)
    front = pareto(drawn)
    ring: dict[str, Any] = {
        "marker": "o",
        "markersize": 7,
        "markerfacecolor": "none",
        "linewidth": 1.5,
        "drawstyle": "steps-post",
    }
    label = "no other metric is both cheaper and better"
    panel.plot(front["seconds"], front["weighted_kendall"], color=ORANGE, label=label, **ring)
    static = float(rows["weighted_kendall"].get("static_leaderboard", np.nan))
    if np.isfinite(static):
        panel.axhline(static, color="black", linestyle="--", linewidth=0.9, label=f"static leaderboard {static:.2f}")
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("{x:g}")
    _names_at_the_side(panel, drawn)
    panel.set_xlabel("seconds per score, including the pass over the target (log scale)", fontsize=SMALL)
    panel.set_ylabel("weighted Kendall, mean over targets", fontsize=SMALL)
    figure.legend(loc="outside upper left", frameon=False, fontsize=SMALL, ncols=2)
    return figure


def pareto(rows: pd.DataFrame) -> pd.DataFrame:
    """The Pareto front of cost (seconds) and agreement (weighted_kendall), cheapest first.

    Args:
        rows: Columns seconds and weighted_kendall, without NaN.

    Returns:
        The rows that no other row beats in both.

    Example:
        >>> columns = {"seconds": [1.0, 2.0, 3.0], "weighted_kendall": [0.2, 0.1, 0.5]}
        >>> rows = pd.DataFrame(columns, index=["a", "b", "c"])
        >>> list(pareto(rows).index)
        ['a', 'c']
    """
    ordered = rows.sort_values(["seconds", "weighted_kendall"], ascending=[True, False], kind="stable")
    best_before = ordered["weighted_kendall"].cummax().shift(fill_value=-np.inf)
    return ordered[ordered["weighted_kendall"] > best_before]


def _ruler(panel: Axes, k: int, difference: float) -> None:
    panel.plot([1, k], [0, 0], color="black", linewidth=1)
    for rank in range(1, k + 1):
        panel.plot([rank, rank], [0, 0.18], color="black", linewidth=1, clip_on=False)
        if k <= 15 or rank % 5 == 0 or rank == 1:
            panel.text(rank, 0.3, str(rank), ha="center", va="bottom", fontsize=TINY, clip_on=False)
    start = 1.0
    panel.plot([start, start + difference], [1.7] * 2, color="black", linewidth=1.5, clip_on=False)
    panel.text(start, 1.9, f"critical difference {difference:.1f}", va="bottom", fontsize=SMALL, clip_on=False)


def _names_at_the_side(panel: Axes, rows: pd.DataFrame) -> None:
    """Write the metrics' names to the right of the panel, evenly spaced in order of height, each joined by a line."""
    ordered = rows.sort_values("weighted_kendall", ascending=False)
    places = np.linspace(0.98, 0.02, len(ordered)) if len(ordered) > 1 else [0.5]
    for place, (name, row) in zip(places, ordered.iterrows(), strict=True):
        panel.annotate(
            str(name),
            (row["seconds"], row["weighted_kendall"]),
            xytext=(1.04, place),
            textcoords="axes fraction",
            fontsize=TINY,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkB": 3},
        )
