"""The overview of the report: tiles, the table of all measures, and the interval drawn in each of its rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evaluation.study import ALL, MEAN, MEAN_BY_SCAN, WITHOUT_WEAK, Study
from analysis.tables.tables import LABELS, UNDEFINED, Table, result_table

PRIMARY = "weighted_kendall"
STATIC = "static_leaderboard"
REST = ("spearman", "rel_1", "rel_3", "ndcg")


@dataclass(frozen=True)
class Tile:
    """A headline figure at the top of the page.

    Attributes:
        label: Its name.
        value: The figure as text.
        note: What it means.
    """

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Glyph:
    """An interval drawn in a row of a table, on a scale from -1 to 1.

    Attributes:
        low: The lower end.
        value: The agreement.
        high: The upper end.
        ceiling: The expected agreement of a perfect predictor; NaN if undefined.
    """

    low: float
    value: float
    high: float
    ceiling: float


def tiles(study: Study) -> tuple[Tile, ...]:
    """The tiles: reliability, ceiling, the best estimate, CC-FV and the static leaderboard.

    Args:
        study: The result of `correlate`.

    Returns:
        The tiles, without those whose metric is not in the study.
    """
    truth, rows = study.reliability_of(), study.agreement_of()
    metrics = rows[(rows["kind"] == "metric") & rows[PRIMARY].notna()]
    shown = [
        Tile("Reliability of the truth", _interval(truth, "kendall"), "Kendall between two halves of the seeds"),
        Tile("Ceiling", number(truth[f"{PRIMARY}_ceiling"]), "expected weighted Kendall of a perfect predictor"),
    ]
    chosen: dict[str, list[str]] = {
        "Best estimate": list(map(str, metrics.index[:1])),
        "CC-FV": ["ccfv"],
        "Static leaderboard": ["static_leaderboard"],
    }
    for label, names in chosen.items():
        for name in names:
            for _, row in rows[rows.index == name].iterrows():
                note = f"weighted Kendall, {_share(row[f'{PRIMARY}_share'])} of the ceiling"
                shown.append(
                    Tile(f"{label}: {name}" if label == "Best estimate" else label, _interval(row, PRIMARY), note)
                )
    return tuple(shown)


def overview_table(study: Study) -> Table:
    """The mean over targets of every measure for each metric and control, with intervals, p-values and cost.

    Args:
        study: The result of `correlate`.

    Returns:
        The table: metrics in descending order of weighted Kendall, then controls.
    """
    rows = study.agreement_of(MEAN)
    result = result_table(study, intervals=("pearson", "kendall", PRIMARY))
    extra = {
        "without weak": study.agreement_of(MEAN, subset=WITHOUT_WEAK)[PRIMARY],
        "by scan": study.agreement_of(MEAN_BY_SCAN)[PRIMARY],
    }
    texts = {
        f"{LABELS[PRIMARY]} [95%]": [_interval(row, PRIMARY) for _, row in rows.iterrows()],
        "share of ceiling": [_share(value) for value in rows[f"{PRIMARY}_share"]],
        "p": [_p(value) for value in rows[f"{PRIMARY}_p"]],
        "p (Holm)": [_p(value) for value in rows[f"{PRIMARY}_p_holm"]],
        "beats static": _wins(study, rows.index),
        "Pearson [95%]": [_interval(row, "pearson") for _, row in rows.iterrows()],
        "Kendall [95%]": [_interval(row, "kendall") for _, row in rows.iterrows()],
        **{LABELS[name]: list(map(number, rows[name])) for name in REST},
        "top-1 regret": [number(100 * value, digits=1) for value in rows["top1_regret"]],
        **{name: [number(values.get(metric, np.nan)) for metric in rows.index] for name, values in extra.items()},
    }
    copied = {name: result.columns.index(name) for name in ("paper", "NaN", "cost [s]")}
    flat = {row[0]: row for group in result.groups for row in group}
    texts |= {name: [flat[metric][place] for metric in rows.index] for name, place in copied.items()}
    lines = {str(metric): tuple(cells) for metric, *cells in zip(rows.index, *texts.values(), strict=True)}
    groups = tuple(
        tuple((name, *lines[name]) for name in map(str, rows.index[rows["kind"] == kind]))
        for kind in ("metric", "control")
    )
    return Table(result.title, ("metric", *texts), groups, result.notes)


def glyphs(study: Study) -> dict[str, Glyph]:
    """Metric -> its interval of weighted Kendall; metrics with an undefined interval are left out."""
    rows = study.agreement_of(MEAN)
    ends = [f"{PRIMARY}_low", PRIMARY, f"{PRIMARY}_high", f"{PRIMARY}_ceiling"]
    return {str(name): Glyph(*map(float, row)) for name, row in rows[ends].iterrows() if np.isfinite(row[:3]).all()}


def source_table(study: Study) -> Table:
    """The pool: the properties of each source, and its mean Dice minus the pools' means.

    Args:
        study: The result of `correlate`.

    Returns:
        The table, best source first.
    """
    above: dict[str, list[float]] = {}
    for pool in study.pools:
        for name, dice in zip(pool.sources, pool.mean - pool.mean.mean(), strict=True):
            above.setdefault(name, []).append(float(dice))
    facts = {str(fact["source"]): fact for fact in study.sources.to_dict("records")}
    rows = []
    for name in sorted(above, key=lambda name: -float(np.mean(above[name]))):
        fact = facts[name]
        rows.append(
            (
                name,
                str(fact["task"]),
                f"{fact['arch']}, width {fact['width']}",
                str(fact["length"]),
                _text(float(fact["parameters"]), 0),
                number(float(fact["source_dice"])),
                number(float(fact["source_cases"]), digits=0),
                str(len(above[name])),
                f"{float(np.mean(above[name])):+.3f}",
            )
        )
    columns = (
        "source",
        "trained on",
        "network",
        "training",
        "parameters",
        "own Dice",
        "cases",
        "targets",
        "Dice above pool",
    )
    return Table(f"The pool: {len(rows)} sources", columns, (tuple(rows),))


def frame_table(frame: pd.DataFrame, title: str, *, notes: Sequence[str] = (), digits: int = 2) -> Table:
    """Convert a frame to a table of text; numbers are rounded, NaN is a dash.

    Args:
        frame: The frame; its index is left out.
        title: One line above the table.
        notes: Lines below the table.
        digits: Digits after the decimal point of numbers that are not whole.
    """
    cells = tuple(tuple(_text(value, digits) for value in row) for row in frame.itertuples(index=False))
    return Table(title, tuple(str(name).replace("_", " ") for name in frame.columns), (cells,), tuple(notes))


def number(value: float, *, digits: int = 2) -> str:
    """Format a number with fixed digits; a dash if it is NaN."""
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}f}"


def _wins(study: Study, metrics: Iterable[str]) -> list[str]:
    """The share of draws in which each metric beats the static leaderboard."""
    rows = study.comparisons
    shares: dict[str, float] = {}
    if len(rows):
        wanted = {"subset": ALL, "tune": study.tune, "target": MEAN, "measure": PRIMARY, "other": STATIC}
        here = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)]
        shares = dict(zip(here["metric"], here["probability"], strict=True))
    return ["" if metric == STATIC else _share(shares.get(metric, float("nan"))) for metric in metrics]


def _text(value: object, digits: int) -> str:
    if isinstance(value, float | np.floating):
        return number(float(value), digits=0 if float(value).is_integer() else digits)
    return str(value)


def _interval(row: "pd.Series[float]", name: str) -> str:
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    ends = f" [{low:.2f}, {high:.2f}]" if np.isfinite([low, high]).all() else ""
    return number(float(row[name])) + ends


def _share(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{100 * value:.0f}%"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else number(value, digits=3)
