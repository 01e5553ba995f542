"""Report a comparison of variants as tables, files, a figure and runs in the tracking store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.evaluation.study import MEAN, MEANS
from analysis.plots.style import BLUE, GREY
from analysis.sensitivity.variants import DEFAULT, MEASURED
from analysis.tables.render import markdown, terminal
from analysis.tables.tables import LABELS, UNDEFINED, Table
from benchmark.jobs.terminal import wide_console
from benchmark.storage.digest import text_digest
from benchmark.tracking import Store

FIGURES = (
    *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")),
    "same_ranking",
    "forwarded",
    "seconds",
)


@dataclass(frozen=True)
class Findings:
    """The results of a comparison of variants.

    Attributes:
        asks: Part -> its question.
        scores: Rows of `compare_scores`.
        truths: Part -> rows of `compare_truths`.
    """

    asks: Mapping[str, str]
    scores: pd.DataFrame
    truths: Mapping[str, pd.DataFrame]


def report(found: Findings, store: Store, *, key: str, suite: str, config: Mapping[str, Any], folder: Path) -> None:
    """Print the tables, write them and the figure, and log one run per variant and metric.

    Args:
        found: The results.
        store: The tracking store.
        key: The key of the comparison; if it is already logged, nothing is logged again.
        suite: The suite's name.
        config: The resolved settings.
        folder: The folder for the files.
    """
    tables = study_tables(found)
    files = write_files(found, tables, folder)
    if store.find(key) is None:
        for row in _means(found.scores).to_dict("records"):
            _log(row, store, key=key, suite=suite)
        with store.run("variant", key, f"variants of {suite}", params={}, config=config, suite=suite) as run:
            run.log(tags={"variant": "all"})
            for path in files:
                run.file(path)
    console = wide_console()
    for table in tables:
        console.print(terminal(table))
    console.print(f"tables and figure: {folder}", highlight=False)


def study_tables(found: Findings) -> list[Table]:
    """The tables of each part, with one row per metric and variant.

    Args:
        found: The results.

    Returns:
        The tables, in the order of the parts.
    """
    tables = []
    scored = set(found.scores["part"]) if len(found.scores) else set()
    for part, asks in found.asks.items():
        if part in scored:
            tables.append(_score_table(f"{part}: {asks}", found.scores[found.scores["part"] == part]))
        if part in found.truths:
            tables.append(_truth_table(f"{part}: {asks}", found.truths[part]))
    return tables


def write_files(found: Findings, tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write `variants.csv`, `variants_<part>.csv` per truth, `variants.md` and `variants.png`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"variants.md": "\n".join(map(markdown, tables)), "variants.csv": found.scores.to_csv(index=False)}
    texts |= {f"variants_{part}.csv": rows.to_csv(index=False) for part, rows in found.truths.items()}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    paths = [folder / name for name in texts]
    if len(found.scores):
        variants_figure(_means(found.scores)).savefig(folder / "variants.png", dpi=110)
        paths.append(folder / "variants.png")
    return paths


def variants_figure(rows: pd.DataFrame, *, measure: str = "weighted_kendall") -> Figure:
    """Plot one measure of every variant with its 95% interval: one panel per part, the default in grey.

    Args:
        rows: Mean rows of `compare_scores`.
        measure: One of `MEASURED`.

    Returns:
        The figure.
    """
    parts = [(str(part), group) for part, group in rows.groupby("part", sort=False)]
    heights = [len(group) + 2 for _, group in parts]
    figure = Figure(figsize=(7.0, 0.6 + 0.22 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(parts), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for panel, (part, group) in zip(panels, parts, strict=True):
        place = np.arange(len(group))[::-1]
        value, low, high = (group[f"{measure}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        colours = [GREY if name == DEFAULT else BLUE for name in group["variant"]]
        panel.hlines(place, low, high, color=colours, linewidth=1.2)
        panel.scatter(value, place, color=colours, s=14, zorder=3)
        panel.axvline(0, color="black", linewidth=0.8)
        names = [f"{metric}, {variant}" for metric, variant in zip(group["metric"], group["variant"], strict=True)]
        panel.set_yticks(place, names, fontsize=7)
        panel.set_title(part, fontsize=8, loc="left")
    panels[-1].set_xlabel(f"{LABELS[measure]}, mean over targets, with 95% intervals", fontsize=8)
    return figure


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["target"] == MEAN] if len(rows) else rows


def _score_table(title: str, rows: pd.DataFrame) -> Table:
    columns = (
        "metric",
        "variant",
        *(f"{LABELS[name]} [95%]" for name in MEASURED),
        "same ranking",
        "windows",
        "cost [s]",
    )
    groups = [
        tuple(
            (
                str(metric) if place == 0 else "",
                str(row["variant"]),
                *(_interval(row, name) for name in MEASURED),
                _number(row["same_ranking"]),
                f"{100 * row['forwarded']:.0f}%",
                _number(row["seconds"]),
            )
            for place, row in enumerate(group.to_dict("records"))
        )
        for metric, group in _means(rows).groupby("metric", sort=False)
    ]
    notes = ["Means over targets. same ranking: Kendall's tau between the variant's scores and the default's, 1 if no "
             "source changes its rank. windows: share of windows that were forwarded.", *_reasons(rows)]  # fmt: skip
    return Table(title, columns, tuple(groups), tuple(notes))


def _truth_table(title: str, rows: pd.DataFrame) -> Table:
    columns = (
        "tuned",
        "reliability",
        "spread",
        "same ranking",
        "metric",
        *(f"{LABELS[name]} [95%]" for name in MEASURED),
    )
    groups = []
    for variant, group in rows.groupby("variant", sort=False):
        lines = []
        for place, row in enumerate(group.to_dict("records")):
            facts = (_number(row[name]) for name in ("reliability", "spread", "same_ranking"))
            head = (str(variant), *facts) if place == 0 else ("", "", "", "")
            lines.append((*head, str(row["metric"]), *(_interval(row, name) for name in MEASURED)))
        groups.append(tuple(lines))
    notes = [
        f"Target {rows['target'].iloc[0]}. same ranking: Kendall's tau between this truth's mean Dice and the first's. "
        "reliability: split-half, Kendall.",
        *_reasons(rows),
    ]
    return Table(title, columns, tuple(groups), tuple(notes))


def _interval(row: Mapping[Any, Any], name: str) -> str:
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    ends = "" if np.isnan([low, high]).any() else f" [{low:.2f}, {high:.2f}]"
    return _number(row[name]) + ends


def _number(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.2f}"


def _reasons(rows: pd.DataFrame) -> list[str]:
    """One line per metric, variant and reason, with the targets."""
    explained = rows[(rows["reason"] != "") & ~rows["target"].isin(MEANS)]
    groups = explained.groupby(["metric", "variant", "reason"], sort=False)["target"]
    return [f"{metric}, {variant} on {', '.join(names)}: {reason}" for (metric, variant, reason), names in groups]


def _log(row: Mapping[Any, Any], store: Store, *, key: str, suite: str) -> None:
    params = {name: str(row[name]) for name in ("part", "metric", "variant")}
    mine = text_digest("/".join([key, *params.values()]))
    name = f"{params['metric']}, {params['part']}/{params['variant']}"
    with store.run("variant", mine, name, params=params, config=params, suite=suite) as run:
        run.log(
            metrics={figure: float(row[figure]) for figure in FIGURES},
            tags={"variant": f"{params['part']}/{params['variant']}"},
        )
        if row["reason"]:
            run.log(tags={f"reason/{params['metric']}": str(row["reason"])})
