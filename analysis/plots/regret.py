"""Regret against cost of each way to pick a source, see `analysis.evaluation.race_replay`."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.evaluation.race_replay import RaceReplay, StrategyKind
from analysis.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, SMALL, blank, names_at_the_side
from analysis.tables.race_tables import STATIC, strategy_name
from benchmark.ranking.default_metrics import DEFAULT_METRICS

MARKERS = {  # kind -> marker, colour, size
    StrategyKind.ALL: ("s", "black", 6),
    StrategyKind.RACE: ("*", ORANGE, 10),
    StrategyKind.SHORT: ("D", GREEN, 6),
    StrategyKind.ESTIMATE: ("o", BLUE, 5),
    StrategyKind.CONTROL: ("^", GREY, 6),
    StrategyKind.RANDOM: ("X", PURPLE, 7),
    StrategyKind.FLOOR: ("v", SKY, 7),
}
LABELS = {StrategyKind.ESTIMATE: "top of an estimate", StrategyKind.CONTROL: "top of a control"}
NAMED = (*DEFAULT_METRICS, STATIC)  # estimates and controls whose names are written


def regret_plot(replay: RaceReplay, *, measure: str = "Dice") -> Figure:
    """Plot the mean regret of each strategy against its cost; lower left is better.

    Of estimates and controls, only the default metrics of `rank`, the static leaderboard, and the best of each kind
    have their names written; vertical lines are the intervals of the named ones, cut off at the panel's edge.

    Args:
        replay: The replay, with at least one strategy of known regret and cost.
        measure: What the values of the truth are called.
    """
    rows = drawn_strategies(replay)
    x, y = 100 * rows["cost"].to_numpy(dtype=float), 100 * rows["regret"].to_numpy(dtype=float)
    named = named_strategies(rows)
    figure, panel = blank(7.5, max(3.6, 1.0 + 0.19 * named.sum()))
    top = 1.08 * y.max() if y.max() > 0 else 1.0
    panel.set_ylim(min(0.0, 1.08 * y.min()), top)
    low, high = (100 * rows[f"regret_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    panel.vlines(x[named], low[named], high[named], color=GREY, linewidth=0.6, alpha=0.5)
    for kind, (marker, colour, size) in MARKERS.items():
        own = (rows["kind"] == kind).to_numpy()
        if own.any():
            panel.plot(x[own], y[own], linestyle="none", marker=marker, color=colour, markersize=size,
                       label=LABELS.get(kind, kind.value), alpha=0.85)  # fmt: skip
    panel.set_xscale("log")
    panel.set_xticks(ticks := [tick for tick in (1, 2, 5, 10, 20, 50, 100) if tick >= x.min() / 2], map(str, ticks))
    panel.minorticks_off()
    names = [strategy_name(str(row["strategy"]), str(row["kind"])) for _, row in rows[named].iterrows()]
    names_at_the_side(panel, names, x[named], y[named])
    panel.set_xlabel("cost, % of fine-tuning all sources, with the fine-tuning of the pick (log scale)", fontsize=SMALL)
    panel.set_ylabel(f"regret, {measure} points, mean over targets", fontsize=SMALL)
    figure.legend(loc="outside upper left", frameon=False, fontsize=SMALL, ncols=4)
    return figure


def drawn_strategies(replay: RaceReplay) -> pd.DataFrame:
    """The rows of the means with a known regret and cost."""
    means = replay.means
    return means[means["regret"].notna() & (means["cost"] > 0)] if len(means) else means


def named_strategies(rows: pd.DataFrame) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """(r,) whether the name of each strategy is written.

    Args:
        rows: Columns strategy, kind, regret.
    """
    several = rows["kind"].isin([StrategyKind.ESTIMATE, StrategyKind.CONTROL])
    best = rows["regret"] == rows.groupby("kind")["regret"].transform("min")
    named: np.ndarray[tuple[int], np.dtype[np.bool_]] = (~several | rows["strategy"].isin(NAMED) | best).to_numpy()
    return named
