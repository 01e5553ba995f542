"""The figures of a study. Each function returns a `matplotlib.figure.Figure` and touches no global state.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; the kind of a source is also in its marker.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.pools import Pool
from analysis.study import ALL, MEAN, Study
from analysis.tables import LABELS

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F"
# length of pre-training -> marker, colour
KINDS = {"scratch": ("x", ORANGE), "short": ("^", PURPLE), "long": ("o", BLUE)}
OTHER_KIND = ("s", GREEN)
MOST_PANELS = 60  # beyond it a figure of panels is unreadable and slow to draw


def scatter(study: Study, *, metrics: Sequence[str], targets: Sequence[str] | None = None) -> Figure:
    """Score against Dice: a row of panels a metric, a panel a target, a point a source.

    Error bars are the standard deviation of the Dice between seeds.

    Args:
        study: What `correlate` found.
        metrics: The metrics or controls to draw.
        targets: The targets to draw; all of the study proper where None.

    Returns:
        The figure.

    Raises:
        ValueError: There would be no panel, or more than 60.
    """
    pools = [pool for pool in study.pools if targets is None or pool.target in targets]
    if not 1 <= len(metrics) * len(pools) <= MOST_PANELS:
        raise ValueError(
            f"`metrics` and `targets` must make 1 to {MOST_PANELS} panels, got {len(metrics)} times {len(pools)}"
        )
    figure = Figure(figsize=(0.6 + 2.5 * len(pools), 0.5 + 2.3 * len(metrics)), layout="constrained")
    axes = figure.subplots(len(metrics), len(pools), squeeze=False)
    length = dict(zip(study.sources["source"], study.sources["length"], strict=True))
    scores = study.scores.set_index(["metric", "target", "source"])["score"]
    agreement = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    found = agreement.set_index(["metric", "target"])["weighted_kendall"]
    for row, metric in zip(axes, metrics, strict=True):
        for panel, pool in zip(row, pools, strict=True):
            x = np.array([float(scores.get((metric, pool.target, name), np.nan)) for name in pool.sources])
            _points(panel, x, pool, length)
            panel.set_title(_panel_title(pool.target, float(found.get((metric, pool.target), np.nan)), x), fontsize=8)
            panel.set_xlabel(metric, fontsize=8)
        row[0].set_ylabel("Dice after fine-tuning", fontsize=8)
    handles = {
        label: part for panel in axes.flat for part, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def bars(study: Study, *, measure: str = "weighted_kendall", target: str = MEAN) -> Figure:
    """One measure of every metric and control as bars with 95% intervals, and the ceiling as a line.

    Args:
        study: What `correlate` found.
        measure: pearson, kendall or weighted_kendall.
        target: A target or a mean.

    Returns:
        The figure; metrics above controls, best first, undefined ones named without a bar.
    """
    rows = study.agreement_of(target)
    figure = Figure(figsize=(7.0, 1.4 + 0.3 * len(rows)), layout="constrained")
    panel = figure.subplots()
    place = np.arange(len(rows))[::-1]
    value = rows[measure].to_numpy(dtype=float)
    ends = rows[[f"{measure}_low", f"{measure}_high"]].to_numpy(dtype=float)
    colours = [BLUE if kind == "metric" else GREY for kind in rows["kind"]]
    panel.barh(place, np.nan_to_num(value), color=colours, height=0.7)
    drawn = np.isfinite(value) & np.isfinite(ends).all(axis=1)
    panel.hlines(place[drawn], *ends[drawn].T, color="black", linewidth=1.2)
    for at in place[~np.isfinite(value)]:
        panel.text(0.01, at, "undefined", va="center", fontsize=8)
    ceiling = float(study.reliability_of(target)[f"{measure}_ceiling"])
    if np.isfinite(ceiling):
        panel.axvline(ceiling, color=ORANGE, linestyle="--", label=f"ceiling {ceiling:.2f}")
        figure.legend(loc="outside upper right", frameon=False, fontsize=8)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_yticks(place, [str(name) for name in rows.index], fontsize=8)
    panel.set_xlabel(f"{LABELS[measure]}, {target.replace('_', ' ')} (tuned: {study.tune}); bars with 95% intervals")
    return figure


def heat_map(study: Study) -> Figure:
    """The mean Dice of every source on every target; a blank where the source stands outside the pool.

    Args:
        study: What `correlate` found.

    Returns:
        The figure; sources by falling mean of (Dice - pool mean), each cell with its Dice.
    """
    table = dice_table(study.pools)
    figure = Figure(figsize=(2.6 + 0.75 * table.shape[1], 1.6 + 0.26 * table.shape[0]), layout="constrained")
    panel = figure.subplots()
    values = table.to_numpy(dtype=float)
    image = panel.imshow(values, cmap="cividis", aspect="auto", vmin=0.0)
    middle = (np.nanmax(values)) / 2
    for (i, j), dice in np.ndenumerate(values):
        if np.isfinite(dice):
            colour = "white" if dice < middle else "black"
            panel.text(j, i, f"{dice:.2f}", ha="center", va="center", fontsize=7, color=colour)
    panel.set_xticks(range(table.shape[1]), [str(name) for name in table.columns], rotation=45, ha="right", fontsize=8)
    panel.set_yticks(range(table.shape[0]), [str(name) for name in table.index], fontsize=8)
    figure.colorbar(image, ax=panel, label=f"Dice after fine-tuning (tuned: {study.tune})")
    return figure


def dice_table(pools: Sequence[Pool]) -> pd.DataFrame:
    """Source x target mean Dice, NaN outside a pool, sources by falling mean of (Dice - pool mean).

    Args:
        pools: The pools, one a target.

    Returns:
        The table.

    Example:
        >>> pool = Pool("liver", "last", ("a", "b"), (0,), np.array([[0.25], [0.75]]))
        >>> dice_table([pool])["liver"].to_dict()
        {'b': 0.75, 'a': 0.25}
    """
    table = pd.DataFrame({pool.target: pd.Series(pool.mean, index=list(pool.sources)) for pool in pools})
    order = (table - table.mean()).mean(axis=1).sort_values(ascending=False, kind="stable").index
    return table.loc[order]


def _points(
    panel: Axes, x: "np.ndarray[tuple[int], np.dtype[np.float64]]", pool: Pool, length: Mapping[str, str]
) -> None:
    """One point a source with a bar of one seed standard deviation up and down, in the marker of its kind."""
    sd = pool.dice.std(axis=1, ddof=1) if len(pool.seeds) > 1 else np.zeros(len(pool.sources))
    kinds = np.array([str(length.get(name, "other")) for name in pool.sources])
    for kind in dict.fromkeys([*KINDS, *kinds]):
        here = (kinds == kind) & np.isfinite(x)
        if here.any():
            marker, colour = KINDS.get(kind, OTHER_KIND)
            style = {"marker": marker, "color": colour, "markersize": 4, "elinewidth": 0.8, "label": kind}
            panel.errorbar(x[here], pool.mean[here], yerr=sd[here], linestyle="none", **style)
    panel.tick_params(labelsize=7)


def _panel_title(target: str, value: float, x: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> str:
    gaps = int((~np.isfinite(x)).sum())
    told = f", {gaps} without score" if gaps else ""
    return f"{target}: τw {value:.2f}{told}" if np.isfinite(value) else f"{target}: τw undefined{told}"
