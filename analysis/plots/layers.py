"""The terms of CC-FV by layer: their agreement with the truth, and consistency against variety."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.evaluation.layer_parts import TERMS
from analysis.evaluation.study import Study
from analysis.plots.style import BLUE, GREEN, MOST_VECTORS, ORANGE, SMALL, bare, blank

COLOURS = {"consistency": ORANGE, "variety": GREEN, "both": BLUE}
MARKERS = {"consistency": "v", "variety": "^", "both": "o"}


def term_dots(agreement: pd.DataFrame) -> Figure:
    """Plot the agreement of each term of each layer: small marks are targets, large marks means over targets.

    Args:
        agreement: The result of `analysis.evaluation.layer_parts.term_agreement`, with at least one row.

    Returns:
        The figure; layers from coarse (top) to fine.
    """
    layers = sorted(agreement["layer"].unique())
    rows = [(layer, term) for layer in layers for term in TERMS]
    figure, panel = blank(7.0, 1.0 + 0.27 * len(rows))
    groups = agreement.groupby(["layer", "term"])["weighted_kendall"]
    for place, (layer, term) in enumerate(rows):
        height = -(place + 0.6 * layers.index(layer))
        values = groups.get_group((layer, term)).to_numpy(dtype=float)
        style: dict[str, Any] = {"color": COLOURS[term], "marker": MARKERS[term], "linestyle": "none"}
        panel.plot(values, np.full(len(values), height), markersize=4, alpha=0.45, **style)
        panel.plot(values.mean(), height, markersize=9, markeredgecolor="black", **style)
    heights = [-(place + 0.6 * layers.index(layer)) for place, (layer, _) in enumerate(rows)]
    panel.set_yticks(heights, [f"layer {layer}: {TERMS[term]}" for layer, term in rows], fontsize=SMALL)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_xlabel("weighted Kendall with the Dice; small: target, large: mean over targets", fontsize=SMALL)
    return figure


def term_scatter(study: Study, terms: pd.DataFrame) -> Figure:
    """Plot consistency against variety, one panel per layer, one point per source and target, coloured by Dice.

    Args:
        study: The result of `correlate`.
        terms: The result of `analysis.evaluation.layer_parts.layer_terms`, with at least one row.

    Returns:
        The figure; bright points are pairs whose Dice is above the target's pool mean.
    """
    pairs = [
        (pool.target, source, dice)
        for pool in study.pools
        for source, dice in zip(pool.sources, pool.mean - pool.mean.mean(), strict=True)
    ]
    truth = pd.DataFrame(pairs, columns=["target", "source", "dice"])
    rows = terms.merge(truth, on=["target", "source"])
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
