"""Report a comparison of variants as tables, files, a figure and runs in the tracking store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.evaluation.race_replay import RaceReplay
from analysis.plots.style import BLUE, GREY
from analysis.sensitivity.races import race_table
from analysis.sensitivity.variants import DEFAULT, MEASURED
from analysis.tables.number_format import percent, with_interval
from analysis.tables.study_tables import LABELS, WEIGHTED_KENDALL_IS
from analysis.tables.tables import Column, Row, Table, markdown, table_of
from analysis.tables.terminal import TerminalTable
from analysis.truth.pools import Scope
from benchmark.jobs.terminal import wide_console
from benchmark.storage.digest import text_digest
from benchmark.storage.files import write_text
from benchmark.tracking import Store
from benchmark.tracking.records import REASON

FIGURES = (
    *(f"{name}{end}" for name in MEASURED for end in ("", "_low", "_high")),
    "same_ranking",
    "forwarded",
    "seconds",
)
MEASURES = tuple(Column(f"{LABELS[name]} [95%]", partial(with_interval, name=name)) for name in MEASURED)
SCORE_COLUMNS = (
    Column("metric", "metric"),
    Column("variant", "variant"),
    *MEASURES,
    Column(
        "same ranking",
        "same_ranking",
        note="same ranking: Kendall's tau between the variant's scores and the default's, 1 if no source changes its "
        "rank.",
    ),
    Column("windows", "forwarded", percent, "windows: share of windows that were forwarded."),
    Column("cost [s]", "seconds"),
)
TRUTH_COLUMNS = (
    Column("tuned", "variant"),
    Column("reliability", "reliability", note="reliability: Kendall, over seeds."),
    Column("spread", "spread"),
    Column(
        "same ranking",
        "same_ranking",
        note="same ranking: Kendall's tau between this truth's mean Dice and the first's.",
    ),
    Column("metric", "metric"),
    *MEASURES,
)


@dataclass(frozen=True)
class Findings:
    """The results of a comparison of variants.

    Attributes:
        asks: Part -> its question.
        scores: Rows of `compare_scores`.
        truths: Part -> rows of `compare_truths`.
        races: Part -> result of `analysis.sensitivity.races.compare_races`.
    """

    asks: Mapping[str, str]
    scores: pd.DataFrame
    truths: Mapping[str, pd.DataFrame]
    races: Mapping[str, RaceReplay] = field(default_factory=dict)


def report(
    findings: Findings, store: Store, *, key: str, suite: str, config: Mapping[str, object], folder: Path
) -> None:
    """Print the tables, write them and the figure, and log one run per variant and metric.

    Args:
        findings: The results.
        store: The tracking store.
        key: The key of the comparison; if it is already logged, nothing is logged again.
        suite: The suite's name.
        config: The resolved settings.
        folder: The folder for the files.
    """
    tables = study_tables(findings)
    files = write_files(findings, tables, folder)
    if store.find(key) is None:
        for row in _means(findings.scores).to_dict("records"):
            _log(row, store, key=key, suite=suite)
        with store.run("variant", key, f"variants of {suite}", params={}, config=config, suite=suite) as run:
            run.log(tags={"variant": "all"})
            for path in files:
                run.file(path)
    console = wide_console()
    for table in tables:
        console.print(TerminalTable(table))
    console.print(f"tables and figure: {folder}", highlight=False)


def study_tables(findings: Findings) -> list[Table]:
    """The tables of each part in order, with one row per metric and variant."""
    tables = []
    scored = set(findings.scores["part"]) if len(findings.scores) else set()
    for part, asks in findings.asks.items():
        if part in scored:
            tables.append(_score_table(f"{part}: {asks}", findings.scores[findings.scores["part"] == part]))
        if part in findings.truths:
            tables.append(_truth_table(f"{part}: {asks}", findings.truths[part]))
        if part in findings.races:
            tables.append(race_table(f"{part}: {asks}", findings.races[part]))
    return tables


def write_files(findings: Findings, tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write `variants.csv`, `variants_<part>.csv` per truth and part of races, `variants.md` and `variants.png`.

    Returns:
        The paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"variants.md": "\n".join(map(markdown, tables)), "variants.csv": findings.scores.to_csv(index=False)}
    texts |= {f"variants_{part}.csv": rows.to_csv(index=False) for part, rows in findings.truths.items()}
    for part, replay in findings.races.items():
        texts[f"variants_{part}.csv"] = pd.concat([replay.rows, replay.means]).to_csv(index=False)
    for name, text in texts.items():
        write_text(folder / name, text)
    paths = [folder / name for name in texts]
    if len(findings.scores):
        variants_figure(_means(findings.scores)).savefig(folder / "variants.png", dpi=110)
        paths.append(folder / "variants.png")
    return paths


def variants_figure(rows: pd.DataFrame, *, measure: str = "weighted_kendall") -> Figure:
    """Plot one measure of every variant with its 95% interval: one panel per part, the default in grey.

    Args:
        rows: Mean rows of `compare_scores`.
        measure: One of `MEASURED`.
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
    return rows[rows["scope"] == Scope.MEAN] if len(rows) else rows


def _score_table(title: str, rows: pd.DataFrame) -> Table:
    groups = [_headed(group, ["metric"]) for _, group in _means(rows).groupby("metric", sort=False)]
    return table_of(title, SCORE_COLUMNS, groups, ("Means over targets.", WEIGHTED_KENDALL_IS, *_reasons(rows)))


def _truth_table(title: str, rows: pd.DataFrame) -> Table:
    head = ["variant", "reliability", "spread", "same_ranking"]
    groups = [_headed(group, head) for _, group in rows.groupby("variant", sort=False)]
    return table_of(
        title, TRUTH_COLUMNS, groups, (f"Target {rows['target'].iloc[0]}.", WEIGHTED_KENDALL_IS, *_reasons(rows))
    )


def _headed(group: pd.DataFrame, head: Sequence[str]) -> list[Row]:
    """The rows of a group; the fields that they share are left to the first."""
    first, *rest = group.to_dict("records")
    return [first, *(row | dict.fromkeys(head, "") for row in rest)]


def _reasons(rows: pd.DataFrame) -> list[str]:
    explained = rows[(rows["reason"] != "") & (rows["scope"] == Scope.TARGET)]
    groups = explained.groupby(["metric", "variant", "reason"], sort=False)["target"]
    return [f"{metric}, {variant} on {', '.join(names)}: {reason}" for (metric, variant, reason), names in groups]


def _log(row: Row, store: Store, *, key: str, suite: str) -> None:
    params = {name: str(row[name]) for name in ("part", "metric", "variant")}
    mine = text_digest("/".join([key, *params.values()]))
    name = f"{params['metric']}, {params['part']}/{params['variant']}"
    with store.run("variant", mine, name, params=params, config=params, suite=suite) as run:
        run.log(
            metrics={figure: float(row[figure]) for figure in FIGURES},
            tags={"variant": f"{params['part']}/{params['variant']}"},
        )
        if row["reason"]:
            run.log(tags={f"{REASON}{params['metric']}": str(row["reason"])})
