"""Comparisons of metrics: bars of a measure, the critical-difference diagram, and agreement against cost."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from analysis.agreement.bootstrap import Array
from analysis.agreement.critical_difference import CriticalDifference
from analysis.evaluation.kinds import CONTROL, METRIC, STEPS_OF, TRAINING, shown_name
from analysis.evaluation.study import Study
from analysis.plots.style import BLUE, GREEN, GREY, ORANGE, SMALL, TINY, blank, names_at_the_side
from analysis.tables.study_tables import LABELS
from analysis.truth.pools import Scope

STEP = 0.22  # inches per name
COLOURS = {METRIC: BLUE, TRAINING: GREEN, CONTROL: GREY}  # of a bar, by kind
MARKERS = {
    METRIC: ("o", COLOURS[METRIC], 5, "estimate"),
    TRAINING: ("D", COLOURS[TRAINING], 6, "short fine-tuning, judged by the other seeds"),
}
WIDE = 10.0  # from this ratio of the highest cost to the lowest, only some ticks between powers of ten have labels


def bars(study: Study, *, measure: str = "weighted_kendall", target: str = "") -> Figure:
    """Plot one measure of every metric and control as bars with 95% intervals, and the ceiling as a line.

    The bars are those of `target`, or means over targets if it is empty. Metrics come above short fine-tuning and
    controls, best first; undefined values are labelled and have no bar.
    """
    rows = study.agreement_of(target)
    figure, panel = blank(7.0, 1.4 + 0.22 * len(rows))
    place = np.arange(len(rows))[::-1]
    value = rows[measure].to_numpy(dtype=float)
    ends = rows[[f"{measure}_low", f"{measure}_high"]].to_numpy(dtype=float)
    colours = [COLOURS[kind] for kind in rows["kind"]]
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
    panel.set_yticks(place, [shown_name(str(name)) for name in rows.index], fontsize=SMALL)
    panel.set_xlabel(f"{LABELS[measure]}, {target or Scope.MEAN} (tuned: {study.tune}); bars with 95% intervals")
    return figure


def difference_diagram(differences: CriticalDifference) -> Figure:
    """Plot the critical-difference diagram: mean agreement on a line, a bar over each group that does not differ.

    Names of the better half are on the left, of the worse half on the right.

    Raises:
        ValueError: The difference is undefined.
    """
    if not np.isfinite(differences.difference):
        raise ValueError(f"`differences` must have a critical difference, got NaN: {differences.reason}")
    agreement = differences.agreement
    names, values = list(agreement), np.array(list(agreement.values()))
    k, cliques, half = len(names), differences.cliques, (len(names) + 1) // 2
    scale = (k - 1) / (np.ptp(values) or 1.0)  # the best metric is at 1, the worst at k
    places = {name: 1 + scale * (values[0] - value) for name, value in agreement.items()}
    figure, panel = blank(7.5, 1.0 + STEP * (half + len(cliques)))
    panel.set(ylim=(-half - len(cliques) - 0.6, 0), xlim=(1 - 0.55 * k, k + 0.55 * k), xticks=[], yticks=[])
    panel.spines[["left", "bottom"]].set_visible(False)
    _ruler(panel, k, values, scale=scale, difference=differences.difference)
    for line, clique in enumerate(cliques):
        ends = places[clique[0]] - 0.06, places[clique[-1]] + 0.06
        panel.plot(ends, [-0.7 - line] * 2, color=ORANGE, linewidth=3, solid_capstyle="round")
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        left = place < half
        depth = -len(cliques) - 1.0 - (place if left else k - 1 - place)
        edge = 0.7 - 0.02 * k if left else k + 0.3 + 0.02 * k
        panel.plot([places[name], places[name], edge], [0, depth, depth], color="black", linewidth=0.7)
        text = f"{name}  {value:.2f} " if left else f" {value:.2f}  {name}"
        panel.text(edge, depth, text, ha="right" if left else "left", va="center", fontsize=SMALL)
    return figure


def cost_plot(study: Study) -> Figure:
    """Plot agreement against cost: metrics and short fine-tuning with their 95% intervals, and the Pareto front.

    The static leaderboard, which costs nothing, is a dashed line.
    """
    rows, drawn = study.agreement_of(), with_cost(study)
    figure, panel = blank(7.5, max(3.2, 1.0 + 0.17 * len(drawn)))
    x, y = drawn["seconds"].to_numpy(dtype=float), drawn["weighted_kendall"].to_numpy(dtype=float)
    panel.vlines(x, drawn["weighted_kendall_low"], drawn["weighted_kendall_high"], color=GREY, linewidth=0.7, alpha=0.6)
    several = (drawn["kind"] == TRAINING).any()
    for kind, (marker, colour, size, name) in MARKERS.items():
        own = (drawn["kind"] == kind).to_numpy()
        if own.any():
            panel.plot(x[own], y[own], linestyle="none", marker=marker, color=colour, markersize=size,
                       label=name if several else None)  # fmt: skip
    front = pareto(drawn)
    label = "no other is both cheaper and better"
    panel.plot(front["seconds"], front["weighted_kendall"], color=ORANGE, linewidth=1.5, drawstyle="steps-post",
               label=label, marker="o", markersize=7, markerfacecolor="none")  # fmt: skip
    static = float(rows["weighted_kendall"].get("static_leaderboard", np.nan))
    if np.isfinite(static):
        panel.axhline(static, color="black", linestyle="--", linewidth=0.9, label=f"static leaderboard {static:.2f}")
    panel.set_xscale("log")
    if len(x) and x.max() > WIDE * x.min():
        panel.xaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter("{x:g}")
    names = [f"{shown_name(str(name))} of the steps" if name in STEPS_OF else str(name) for name in drawn.index]
    names_at_the_side(panel, names, x, y)
    cost = "including the pass over the target or the training up to it"
    if not several:
        cost = "including the pass over the target"
    panel.set_xlabel(f"seconds per score, {cost} (log scale)", fontsize=SMALL)
    panel.set_ylabel("weighted Kendall, mean over targets", fontsize=SMALL)
    figure.legend(loc="outside upper left", frameon=False, fontsize=SMALL, ncols=2)
    return figure


def with_cost(study: Study) -> pd.DataFrame:
    """The rows of the means over targets of metrics and short fine-tuning that have a defined agreement and a cost."""
    rows = study.agreement_of()
    return rows[(rows["kind"] != CONTROL) & rows["weighted_kendall"].notna() & (rows["seconds"] > 0)]


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
    return ordered[ordered["weighted_kendall"] > ordered["weighted_kendall"].cummax().shift(fill_value=-np.inf)]


def _ruler(panel: Axes, k: int, values: Array, *, scale: float, difference: float) -> None:
    """Draw the line from 1 (the best) to k with ticks of agreement, and the difference above it."""
    panel.plot([1, k], [0, 0], color="black", linewidth=1)
    best, worst = values[0], values[-1]
    for tick in MaxNLocator(8).tick_values(worst, best):
        place = 1 + scale * (best - tick)
        if worst <= tick <= best:
            panel.plot([place, place], [0, 0.18], color="black", linewidth=1, clip_on=False)
            panel.text(place, 0.3, f"{tick:.3g}", ha="center", va="bottom", fontsize=TINY, clip_on=False)
    panel.plot([1, 1 + scale * difference], [1.7] * 2, color="black", linewidth=1.5, clip_on=False)
    panel.text(1, 1.9, f"critical difference {difference:.2f}", va="bottom", fontsize=SMALL, clip_on=False)
