"""Heat maps, source by target: the Dice, and the ranks by the truth and by each metric."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from analysis.evaluation.kinds import shown_name
from analysis.evaluation.study import Study
from analysis.plots.panels import score_table
from analysis.plots.style import MOST_PANELS, SMALL, TINY, grid
from analysis.truth.pools import Pool

MOST_NAMED = 60  # maximum number of sources with readable names and values
TALLEST = 18.0  # inches
ACROSS = 5  # maps in a row


def heat_map(study: Study) -> Figure:
    """Plot the mean Dice of every source on every target; blank if the source is not in the pool.

    Sources come in descending order of mean (Dice - pool mean); cells show the Dice for up to 60 sources.
    """
    table = dice_table(study.pools)
    rows, columns = table.shape
    figure = Figure(figsize=(2.6 + 0.75 * columns, min(TALLEST, 1.6 + 0.26 * rows)), layout="constrained")
    panel = figure.subplots()
    image = _map(panel, table, lowest=None, highest=None)
    if rows <= MOST_NAMED:
        _write(panel, table)
    panel.set_ylabel("" if rows <= MOST_NAMED else f"{rows} sources, best first", fontsize=SMALL)
    figure.colorbar(image, ax=panel, label=f"{study.measure_name} after fine-tuning (tuned: {study.tune})")
    return figure


def score_maps(study: Study, *, metrics: Sequence[str]) -> Figure:
    """Plot the ranks of the sources of each target, one map for the truth and one per metric, in the same order.

    A metric that agrees with the truth has a similar map. Ranks are shown because raw scores have no common scale.

    Rank 1 (best) is bright; a cell without a score is blank.

    Raises:
        ValueError: There are no metrics, or more than 59.
    """
    if not 1 <= len(metrics) < MOST_PANELS:
        raise ValueError(f"`metrics` must be 1 to {MOST_PANELS - 1}, got {len(metrics)}")
    truth = dice_table(study.pools)
    scores = score_table(study)
    tables = {"truth": truth} | {
        name: scores[name].unstack("target").reindex(index=truth.index, columns=truth.columns).where(truth.notna())  # noqa: PD010 -- a series has no pivot
        for name in metrics
    }
    across = min(ACROSS, len(tables))
    down = -(-len(tables) // across)
    named = len(truth) <= MOST_NAMED
    letters = max(len(str(name)) for name in truth.index) if named else 0
    size, left = (1.25, min(2.2, 0.13 * len(truth))), 0.3 + 0.065 * letters
    figure, axes = grid(down, across, size=size, left=left, right=0.9, bottom=0.9, gap=(0.12, 0.3))
    for place, (panel, (name, table)) in enumerate(zip(axes.flat, tables.items(), strict=False)):
        image = _map(panel, _ranks(table), lowest=0.0, highest=1.0)
        panel.set_title(shown_name(name), fontsize=SMALL, fontweight="bold" if name == "truth" else "normal")
        panel.tick_params(labelsize=TINY - 1)
        panel.tick_params(labelleft=place % across == 0, labelbottom=place + across >= len(tables))
    for panel in axes.flat[len(tables) :]:
        panel.set_axis_off()
    width = figure.get_figwidth()
    bar = figure.colorbar(image, cax=figure.add_axes((1 - 0.75 / width, 0.4, 0.15 / width, 0.2)), ticks=[0, 1])
    bar.ax.set_yticklabels(["last", "first"], fontsize=SMALL)
    return figure


def dice_table(pools: Sequence[Pool]) -> pd.DataFrame:
    """Source x target mean Dice, NaN outside a pool; sources in descending order of mean (Dice - pool mean).

    Example:
        >>> pool = Pool("liver", "last", ("a", "b"), (0,), np.array([[0.25], [0.75]]))
        >>> dice_table([pool])["liver"].to_dict()
        {'b': 0.75, 'a': 0.25}
    """
    table = pd.DataFrame({pool.target: pd.Series(pool.mean, index=list(pool.sources)) for pool in pools})
    return table.loc[(table - table.mean()).mean(axis=1).sort_values(ascending=False, kind="stable").index]


def _ranks(table: pd.DataFrame) -> pd.DataFrame:
    """The ranks of each column, scaled to 0 (worst) .. 1 (best); 0.5 if all values are equal."""
    return (table.rank() - 1) / (table.notna().sum() - 1).clip(lower=1)


def _map(panel: Axes, table: pd.DataFrame, *, lowest: float | None, highest: float | None) -> AxesImage:
    values = np.ma.masked_invalid(table.to_numpy(dtype=float))
    image = panel.imshow(values, cmap="cividis", aspect="auto", vmin=lowest, vmax=highest, interpolation="nearest")
    panel.set_facecolor("white")
    panel.set_xticks(range(table.shape[1]), list(map(str, table.columns)), rotation=45, ha="right", fontsize=SMALL)
    if len(table) <= MOST_NAMED:
        panel.set_yticks(range(len(table)), list(map(str, table.index)), fontsize=SMALL)
    else:
        panel.set_yticks([])
    return image


def _write(panel: Axes, table: pd.DataFrame) -> None:
    values = table.to_numpy(dtype=float)
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (i, j), dice in np.ndenumerate(values):
        if np.isfinite(dice):
            colour = "white" if dice < middle else "black"
            panel.text(j, i, f"{dice:.2f}", ha="center", va="center", fontsize=TINY, color=colour)
