"""The tables of a study as text cells; `analysis.tables.render` turns them into terminal output and Markdown.

Three tables: the truth (its reliability and ceiling), the result (one row per metric, controls in a separate group),
and one measure by target.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.study import ALL, MEAN, MEAN_BY_SCAN, MEANS, SUBSETS, WITHOUT_WEAK, Study
from analysis.published import CITATION, PUBLISHED

UNDEFINED = "–"  # noqa: RUF001 -- an en dash, not a minus
LABELS = {
    "pearson": "Pearson",
    "kendall": "Kendall",
    "weighted_kendall": "weighted Kendall",
    "spearman": "Spearman",
    "rel_1": "rel@1",
    "rel_3": "rel@3",
    "top1_regret": "top-1 regret",
    "ndcg": "NDCG",
}
HEADLINE = ("pearson", "kendall", "weighted_kendall")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of text cells.

    Attributes:
        title: One line above the table.
        columns: The column headers.
        groups: The rows, in groups separated by a rule; each row has one cell per column.
        notes: Lines below the table.
    """

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    notes: tuple[str, ...] = ()


def truth_table(study: Study) -> Table:
    """The quality of the truth: spread, split-half reliability with its interval, and ceiling, by target and as means.

    Args:
        study: The result of `correlate`.

    Returns:
        The table: the means first, then each target, then the pools with another choice of what is tuned.
    """
    head = ("target", "tuned", "sources x seeds", "spread", "seed sd")
    columns = (*head, "r Kendall [95%]", "r Pearson", "r weighted", "ceiling K / P / w")
    rows = study.reliability
    means = rows["target"].isin(MEANS)
    here = rows["tune"] == study.tune
    groups = (rows[means & here], rows[~means & here & (rows["subset"] == ALL)], rows[~here & (rows["subset"] == ALL)])
    notes = [
        "r: reliability, the agreement between the rankings by two halves of the seeds, averaged over all splits; "
        f"interval by bootstrap over the sources, {study.resamples} draws, shared by all targets.",
        "ceiling (Kendall / Pearson / weighted Kendall): the expected agreement of a perfect predictor with the mean "
        "over all seeds. spread: best minus worst Dice. without weak: without scratch and short sources.",
        *(f"{row['target']}: {row['reason']}" for row in _each(groups[1]) if row["reason"]),
    ]
    if study.tune == "head":
        notes.append("Only the head was tuned, so the truth is a linear probe, which favours LogME and H-score.")
    title = f"The truth: Dice after fine-tuning (tuned: {study.tune})"
    return Table(
        title, columns, tuple(tuple(_truth_row(row) for row in _each(group)) for group in groups), tuple(notes)
    )


def result_table(study: Study, *, intervals: Collection[str] = ("weighted_kendall",)) -> Table:
    """The mean over targets of each metric and control, with intervals, share of the ceiling and cost.

    Args:
        study: The result of `correlate`.
        intervals: The measures shown with their interval, from pearson, kendall and weighted_kendall.

    Returns:
        The table: metrics in descending order of weighted Kendall, then controls.
    """
    means = study.agreement_of(MEAN)
    by_scan, strong = study.agreement_of(MEAN_BY_SCAN), study.agreement_of(MEAN, subset=WITHOUT_WEAK)
    extra = {"without weak": strong, "by scan": by_scan} if len(by_scan) else {"without weak": strong}
    columns = ["metric", *(f"{LABELS[name]} [95%]" if name in intervals else LABELS[name] for name in HEADLINE)]
    columns += ["share", "p", "regret", *extra, "paper", "NaN", "cost [s]"]
    groups = []
    for kind in ("metric", "control"):
        rows = []
        for row in _each(means[means["kind"] == kind].reset_index()):
            name = row["metric"]
            others = (number(float(frame["weighted_kendall"].get(name, np.nan))) for frame in extra.values())
            rows.append((name, *_result_cells(row, intervals), *others, _published(name), *_cost(study, row)))
        groups.append(tuple(rows))
    notes = (
        "Intervals are over sources (BCa for Pearson, percentiles for rank measures, some expanded). share (of the "
        "ceiling), p (one-sided, by permutation), without weak (without scratch and short sources) and by scan (mean "
        "over scans) are for weighted Kendall. regret: Dice points lost by taking the top source. NaN: number of "
        "undefined scores.",
        f"paper: Pearson and weighted Kendall of {CITATION}, on another pool. best_in_hindsight sees the answer.",
        *_metric_reasons(study),
    )
    return Table(_result_title(study), tuple(columns), tuple(groups), notes)


def target_table(study: Study, *, measure: str = "weighted_kendall", subset: str = ALL) -> Table:
    """One measure by target.

    Args:
        study: The result of `correlate`.
        measure: A column of `study.agreement`.
        subset: `all` or `without_weak`.

    Returns:
        The table: one column per target; those with another choice of what is tuned come last.
    """
    rows = study.agreement[(study.agreement["subset"] == subset) & (study.agreement["target"] != MEAN_BY_SCAN)]
    names = {(pool.target, pool.tune): pool.target for pool in study.pools}
    names |= {(pool.target, pool.tune): f"{pool.target} ({pool.tune})" for pool in study.beside}
    wide = rows.set_index(["metric", "target", "tune"])[measure]
    ordered = study.agreement_of(MEAN, subset=subset)
    groups = []
    for kind in ("metric", "control"):
        metrics = ordered.index[ordered["kind"] == kind]
        keys = [(MEAN, study.tune), *names]
        groups.append(tuple((str(m), *(number(float(wide.get((m, *key), np.nan))) for key in keys)) for m in metrics))
    title = f"By target: {LABELS[measure]}, {SUBSETS[subset]} (tuned: {study.tune})"
    return Table(title, ("metric", MEAN, *names.values()), tuple(groups))


def _result_title(study: Study) -> str:
    first = study.agreement_of(MEAN).iloc[0]
    seeds = sorted({len(pool.seeds) for pool in study.pools})
    fewest, most = (f(len(pool.sources) for pool in study.pools) for f in (min, max))
    return (
        f"Agreement with the truth: mean over {first['targets']} targets, "
        f"{fewest if fewest == most else f'{fewest} to {most}'} sources each, "
        f"{' or '.join(map(str, seeds))} fine-tuning seeds (tuned: {study.tune})"
    )


def _truth_row(row: Row) -> tuple[str, ...]:
    name = row["target"].replace("_", " ") if row["target"] in MEANS else row["target"]
    return (
        name + (", without weak" if row["subset"] == WITHOUT_WEAK else ""),
        row["tune"],
        f"{row['sources']:.3g} x {row['seeds']:.3g}",
        number(row["spread"]),
        number(row["seed_sd"], digits=3),
        _with_interval(row, "kendall"),
        *(number(row[key]) for key in ("pearson", "weighted_kendall")),
        " / ".join(number(row[f"{key}_ceiling"]) for key in ("kendall", "pearson", "weighted_kendall")),
    )


def _result_cells(row: Row, intervals: Collection[str]) -> tuple[str, ...]:
    share, p = row["weighted_kendall_share"], row["weighted_kendall_p"]
    return (
        *(_with_interval(row, name) if name in intervals else number(row[name]) for name in HEADLINE),
        UNDEFINED if np.isnan(share) else f"{100 * share:.0f}%",
        "<0.001" if p < 0.001 else number(p, digits=3),
        number(100 * row["top1_regret"], digits=1),
    )


def _cost(study: Study, row: Row) -> tuple[str, str]:
    """The number of undefined scores, and the seconds per score."""
    targets = study.agreement_targets(row["metric"])
    gaps = int((targets["sources"] - targets["counted"]).sum())
    return str(gaps) if gaps else "", "" if row["kind"] == "control" else number(row["seconds"])


def _metric_reasons(study: Study) -> list[str]:
    """One line per metric and reason for an undefined agreement or a missing score, with the targets."""
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    rows = rows[~rows["target"].isin(MEANS) & (rows["reason"] != "")]
    groups = rows.groupby(["metric", "reason"], sort=False)["target"]
    return [f"{metric} on {', '.join(targets)}: {reason}" for (metric, reason), targets in groups]


def _published(metric: str) -> str:
    if metric not in PUBLISHED:
        return ""
    return ", ".join(number(PUBLISHED[metric][measure]).lstrip("0") for measure in ("pearson", "weighted_kendall"))


def _each(rows: pd.DataFrame) -> list[Row]:
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def _with_interval(row: Row, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = "" if np.isnan([low, high]).any() else f" [{low:.2f}, {high:.2f}]"
    return number(row[name]) + interval


def number(value: float, *, digits: int = 2) -> str:
    """Format a number for a cell; a dash if it is NaN.

    Args:
        value: The number.
        digits: Digits after the decimal point.

    Returns:
        The text.

    Example:
        >>> number(0.5), number(3.14159, digits=1)
        ('0.50', '3.1')
    """
    return UNDEFINED if np.isnan(value) else f"{value:.{digits}f}"
