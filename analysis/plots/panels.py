"""Scatter plots of score against Dice, by metric and target or as means over targets, and of the terms of CC-FV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import rankdata

from analysis.evaluation.kinds import shown_name
from analysis.evaluation.layer_parts import TERMS
from analysis.evaluation.study import Study
from analysis.plots.style import (
    BLUE,
    GREEN,
    KINDS,
    MOST_PANELS,
    MOST_VECTORS,
    ORANGE,
    OTHER_KIND,
    SMALL,
    TINY,
    bare,
    blank,
    grid,
)

Array = NDArray[np.float64]
ACROSS = 6  # panels per row of `mean_scatter`
COLOURS = {"consistency": ORANGE, "variety": GREEN, "both": BLUE}
MARKERS = {"consistency": "v", "variety": "^", "both": "o"}


@dataclass(frozen=True)
class Cloud:
    """The points of a panel.

    Attributes:
        sources: (n,) names.
        x: (n,) scores; NaN where undefined.
        y: (n,) Dice.
        error: (n,) half the length of the error bar.
    """

    sources: tuple[str, ...]
    x: Array
    y: Array
    error: Array


def scatter(study: Study, *, metrics: Sequence[str], targets: Sequence[str] | None = None) -> Figure:
    """Plot score against Dice: one row per metric, one panel per target, one point per source.

    Error bars are the standard deviation of the Dice between seeds.

    Args:
        study: The study.
        metrics: The metrics or controls to draw.
        targets: The targets to draw; None for all targets of the main study.

    Raises:
        ValueError: There would be no panel, or more than 60.
    """
    names = [pool.target for pool in study.pools if targets is None or pool.target in targets]
    if not 1 <= len(metrics) * len(names) <= MOST_PANELS:
        raise ValueError(
            f"`metrics` and `targets` must make 1 to {MOST_PANELS} panels, got {len(metrics)} times {len(names)}"
        )
    figure, axes = grid(len(metrics), len(names), size=(1.9, 1.6))
    scores = score_table(study)
    for row, metric in zip(axes, metrics, strict=True):
        agreement = study.agreement_targets(metric)["weighted_kendall"]
        for panel, target in zip(row, names, strict=True):
            cloud = cloud_of(study, scores, metric=metric, target=target)
            _draw(panel, cloud, study)
            panel.set_title(_title(target, float(agreement.get(target, np.nan)), cloud.x), fontsize=SMALL)
            panel.set_xlabel(shown_name(metric), fontsize=SMALL)
        row[0].set_ylabel(f"{study.measure_name} after fine-tuning", fontsize=SMALL)
    _legend(figure)
    return figure


def mean_scatter(study: Study, *, metrics: Sequence[str]) -> Figure:
    """Plot score against Dice as means over targets: one panel per metric, one point per source.

    Scores are replaced by their ranks among the sources of a target, scaled to 0 .. 1 (best), since raw scores of
    different targets have no common scale; the Dice is centred by the target's pool mean. Error bars are the standard
    error of the mean over targets.

    Raises:
        ValueError: There would be no panel, or more than 60.
    """
    if not 1 <= len(metrics) <= MOST_PANELS:
        raise ValueError(f"`metrics` must be 1 to {MOST_PANELS}, got {len(metrics)}")
    across = min(ACROSS, len(metrics))
    figure, axes = grid(-(-len(metrics) // across), across, size=(1.55, 1.4), gap=(0.4, 0.45))
    scores, means = score_table(study), study.agreement_of()["weighted_kendall"]
    for panel, metric in zip(axes.flat, metrics, strict=False):
        cloud = mean_cloud(study, scores, metric=metric)
        _draw(panel, cloud, study)
        panel.set_title(_title(shown_name(metric), float(means.get(metric, np.nan)), cloud.x), fontsize=SMALL)
        panel.set(xlim=(-0.05, 1.05), xticks=[0, 0.5, 1])
        panel.sharey(axes[0, 0])
    for panel in axes.flat[len(metrics) :]:
        panel.set_axis_off()
    figure.supxlabel("mean rank by the score (1: best)", fontsize=SMALL, y=0.01, va="bottom")
    figure.supylabel(f"mean {study.measure_name} above the pool's mean", fontsize=SMALL, x=0.01, ha="left")
    _legend(figure)
    return figure


def score_table(study: Study) -> "dict[str, pd.Series[float]]":
    """Metric -> its scores, indexed by target and source."""
    groups = study.scores.groupby("metric", sort=False)
    return {str(metric): rows.set_index(["target", "source"])["score"] for metric, rows in groups}


def cloud_of(study: Study, scores: "Mapping[str, pd.Series[float]]", *, metric: str, target: str) -> Cloud:
    """The points of one metric on one target; `scores` is `score_table(study)`."""
    [pool] = [pool for pool in study.pools if pool.target == target]
    x = np.asarray(scores[metric].reindex(pd.MultiIndex.from_product([[target], pool.sources])), dtype=np.float64)
    spread = pool.dice.std(axis=1, ddof=1) if len(pool.seeds) > 1 else np.zeros(len(pool.sources))
    return Cloud(pool.sources, x, pool.mean, np.asarray(spread, dtype=np.float64))


def mean_cloud(study: Study, scores: "Mapping[str, pd.Series[float]]", *, metric: str) -> Cloud:
    """The points of one metric over all targets; a source's mean is over the targets on which it has a score."""
    parts = []
    for pool in study.pools:
        here = cloud_of(study, scores, metric=metric, target=pool.target)
        x = (rankdata(here.x, nan_policy="omit") - 1) / max(1, np.isfinite(here.x).sum() - 1)
        parts.append(pd.DataFrame({"source": here.sources, "x": x, "y": here.y - here.y.mean()}))
    rows = pd.concat(parts, ignore_index=True).dropna()
    means, error = rows.groupby("source").mean(), rows.groupby("source")["y"].sem()
    x, y, spread = (np.asarray(column, dtype=np.float64) for column in (means["x"], means["y"], error.fillna(0.0)))
    return Cloud(tuple(map(str, means.index)), x, y, spread)


def _draw(panel: Axes, cloud: Cloud, study: Study) -> None:
    length = dict(zip(study.sources["source"], study.sources["length"], strict=True))
    kinds = np.array([str(length.get(name, "other")) for name in cloud.sources])
    many = len(cloud.sources) > MOST_VECTORS // 10
    for kind in dict.fromkeys([*KINDS, *kinds]):
        here = (kinds == kind) & np.isfinite(cloud.x)
        if here.any():
            marker, colour = KINDS.get(kind, OTHER_KIND)
            x, y, error = cloud.x[here], cloud.y[here], cloud.error[here]
            drawn = panel.errorbar(x, y, yerr=error, linestyle="none", elinewidth=0.8, label=kind, marker=marker,
                                   color=colour, markersize=2 if many else 4)  # fmt: skip
            for part in drawn.get_children():
                part.set_rasterized(many)
    bare(panel)
    panel.locator_params(nbins=4)
    panel.xaxis.get_offset_text().set_fontsize(TINY)


def _legend(figure: Figure) -> None:
    handles = {
        label: part for panel in figure.axes for part, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="upper center", ncols=4, frameon=False, fontsize=SMALL)


def _title(name: str, value: float, x: Array) -> str:
    gaps = int((~np.isfinite(x)).sum())
    missing = f", {gaps} without score" if gaps else ""
    return f"{name}: τw {value:.2f}{missing}" if np.isfinite(value) else f"{name}: τw undefined{missing}"


def term_dots(agreement: pd.DataFrame) -> Figure:
    """Plot the agreement of each term of each layer: small marks are targets, large marks means over targets.

    Args:
        agreement: The result of `analysis.evaluation.layer_parts.term_agreement`, with at least one row; layers are
            drawn from coarse (top) to fine.
    """
    layers = sorted(agreement["layer"].unique())
    rows = [(layer, term) for layer in layers for term in TERMS]
    figure, panel = blank(7.0, 1.0 + 0.27 * len(rows))
    groups = agreement.groupby(["layer", "term"])["weighted_kendall"]
    for place, (layer, term) in enumerate(rows):
        height = -(place + 0.6 * layers.index(layer))
        values = groups.get_group((layer, term)).to_numpy(dtype=float)
        panel.plot(values, np.full(len(values), height), color=COLOURS[term], marker=MARKERS[term],
                   markersize=4, alpha=0.45, linestyle="none")  # fmt: skip
        panel.plot(values.mean(), height, color=COLOURS[term], marker=MARKERS[term], markersize=9,
                   markeredgecolor="black", linestyle="none")  # fmt: skip
    heights = [-(place + 0.6 * layers.index(layer)) for place, (layer, _) in enumerate(rows)]
    panel.set_yticks(heights, [f"layer {layer}: {TERMS[term]}" for layer, term in rows], fontsize=SMALL)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_xlabel("weighted Kendall with the Dice; small: target, large: mean over targets", fontsize=SMALL)
    return figure


def term_scatter(study: Study, terms: pd.DataFrame) -> Figure:
    """Plot consistency against variety, one panel per layer, one point per source and target, coloured by Dice.

    Bright points are pairs whose Dice is above the target's pool mean.

    Args:
        study: The study.
        terms: The result of `analysis.evaluation.layer_parts.layer_terms`, with at least one row.
    """
    pairs = [
        (pool.target, source, dice)
        for pool in study.pools
        for source, dice in zip(pool.sources, pool.mean - pool.mean.mean(), strict=True)
    ]
    rows = terms.merge(pd.DataFrame(pairs, columns=["target", "source", "dice"]), on=["target", "source"])
    layers = sorted(rows["layer"].unique())
    figure = Figure(figsize=(1.0 + 2.3 * len(layers), 2.8), layout="constrained")
    axes = figure.subplots(1, len(layers), squeeze=False)[0]
    limit = float(rows["dice"].abs().max())
    for panel, layer in zip(axes, layers, strict=True):
        here = rows[rows["layer"] == layer]
        drawn = panel.scatter(here["consistency"], here["variety"], c=here["dice"], cmap="cividis", s=14,
                              vmin=-limit, vmax=limit, rasterized=len(here) > MOST_VECTORS)  # fmt: skip
        panel.set_title(f"layer {layer}", fontsize=SMALL)
        panel.set_xlabel(TERMS["consistency"], fontsize=SMALL)
        bare(panel)
    axes[0].set_ylabel(TERMS["variety"], fontsize=SMALL)
    figure.colorbar(drawn, ax=list(axes), label="Dice above the pool's mean", shrink=0.9)
    return figure
