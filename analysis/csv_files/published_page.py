"""The tables of docs/explanation/published.md, from what the audit says of each published pool.

Every table is Markdown between two comments, `<!-- table NAME -->` and `<!-- end -->`; the page has the same.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.agreement.corrections import holm
from analysis.published import POOLS, published_agreement
from analysis.published.default_metrics import COUNT, EMBEDDED, MEDMNIST, SUM, TABLE_1, sums
from analysis.tables.number_format import counted, number, p_value, with_interval
from analysis.tables.study_tables import STATIC
from analysis.tables.tables import Column, Row, Table, markdown, table_of
from benchmark.jobs.terminal import wide_console
from benchmark.storage.files import write_text

PAGE = "published.md"
BEGIN, END = "<!-- table {} -->", "<!-- end -->"
LEVEL = 0.95
Facts = dict[str, Any]  # the content of audit.json
THREE = partial(number, digits=3)
FIGURE_2, ARCHITECTURE = "ccfv_figure2", "architecture"
LIVER = "Task03_Liver"
WITH = partial(with_interval, name="weighted_kendall")


def write_published(pools: Mapping[str, Facts], output: Path) -> None:
    """Write the tables to published.md in the folder, and print where."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / PAGE
    write_text(path, "\n".join(marked_tables(pools).values()))
    wide_console().print(f"written: {path}", highlight=False, soft_wrap=True)


def marked_tables(pools: Mapping[str, Facts]) -> dict[str, str]:
    """Name -> the table in Markdown between its two comments.

    Args:
        pools: Published pool -> the content of its audit.json.
    """
    tables = {"pools": pools_table(pools), "figure2": figure_2_table(pools[FIGURE_2])}
    tables |= {"architecture": against_table(FIGURE_2, pools[FIGURE_2], ARCHITECTURE), "pairs": pairs_table()}
    tables["default_metrics"] = default_metrics_table(pools)
    tables |= {
        name: against_table(name, facts, STATIC)
        for name, facts in pools.items()
        if POOLS[name].estimates and name != FIGURE_2
    }
    return {name: f"{BEGIN.format(name)}\n{markdown(table)}{END}\n" for name, table in tables.items()}


def pools_table(pools: Mapping[str, Facts]) -> Table:
    """How hard each pool is to predict, and how reliable its truth is."""
    columns = (
        Column("pool", "name"),
        Column("sources x targets", "size"),
        Column("pairs", "pairs"),
        Column("static leaderboard: weighted Kendall [95%]", WITH),
        Column("Pearson [95%]", lambda row: with_interval(row, "pearson")),
        Column("by group", "by_group", THREE),
        Column(
            "rank sd (random)", lambda row: f"{number(row['rank_sd'], digits=1)} ({number(row['random'], digits=1)})"
        ),
        Column("seeds", "seeds", partial(number, digits=0)),
        Column("reliability", "reliability"),
        Column("ceiling", "ceiling"),
        Column("one seed", "one_seed"),
    )
    several = {name: facts for name, facts in pools.items() if facts["pairs"]["targets"] > 1}
    rows = [_pool_row(name, facts) for name, facts in several.items()]
    notes = (
        "by group: the leaderboard's weighted Kendall if the targets of one group count as one. rank sd: the standard "
        "deviation of a source's rank over targets. reliability: Kendall, over seeds. ceiling: of weighted Kendall. "
        "one seed: Kendall between the ranking by one seed and that by the mean of the others.",
        *(note for name, facts in several.items() for note in _pool_notes(name, facts)),
    )
    return table_of("How hard each pool is to predict without any estimate", columns, [rows], notes)


def _pool_row(name: str, facts: Facts) -> dict[str, Any]:
    truth = facts["reliability"]
    grouped = facts["controls"][STATIC].get("by_group", {})
    return {
        **facts["static_leaderboard"],
        "name": f"`{name}`",
        "size": f"{len(facts['sources'])} x {len(facts['targets'])}",
        "pairs": sum(row["sources"] for row in facts["targets"]),
        "by_group": grouped.get("weighted_kendall", float("nan")),
        "rank_sd": facts["rank_sd"],
        "random": facts["rank_sd_random"],
        "seeds": truth["seeds"],
        "reliability": truth["where_defined"]["kendall"],
        "ceiling": truth["where_defined"]["weighted_kendall_ceiling"],
        "one_seed": truth["one_seed_kendall"],
    }


def _pool_notes(name: str, facts: Facts) -> list[str]:
    truth, why = facts["reliability"], facts["controls"][STATIC]["interval_reason"]
    notes = [f"{name}: no interval of the static leaderboard ({why})."] if why else []
    if truth["where_defined"]["targets"] and truth["undefined"]:
        without = "; ".join(f"{target}: {reason}" for target, reason in truth["undefined"].items())
        notes.append(f"{name}: reliability, ceiling and one seed are means over the other targets ({without}).")
    return notes


def figure_2_table(facts: Facts) -> Table:
    """The four panels of figure 2 against Table 1, and the controls."""
    table_1 = published_agreement()
    printed = table_1[table_1["target"] == LIVER].set_index("metric")
    columns = (
        Column("metric", "name"),
        Column("weighted Kendall, Table 1", "printed_weighted_kendall", partial(number, digits=4)),
        Column("weighted Kendall of the points", "weighted_kendall", partial(number, digits=4)),
        Column("its [95%]", partial(_ends, name="weighted_kendall")),
        Column("Pearson, Table 1", "printed_pearson", partial(number, digits=4)),
        Column("Pearson of the points", "pearson", partial(number, digits=4)),
        Column("[95%] of Pearson", partial(_ends, name="pearson")),
    )
    unknown = {"weighted_kendall": float("nan"), "pearson": float("nan")}
    groups = []
    for field in ("estimates", "controls"):
        rows = []
        for name, row in facts[field].items():
            figures = printed.loc[name].to_dict() if name in printed.index else unknown
            rows.append(row | {"name": name} | {f"printed_{measure}": figures[measure] for measure in unknown})
        groups.append(rows)
    return table_of("The liver: the points of figure 2 against Table 1", columns, groups)


def _ends(row: Row, name: str) -> str:
    return f"[{number(row[f'{name}_low'])}, {number(row[f'{name}_high'])}]"


def against_table(name: str, facts: Facts, other: str) -> Table:
    """The estimates of a pool, and their differences from the control that they have to beat."""
    controls = facts["controls"]
    columns = (
        Column("metric", "name"),
        Column("weighted Kendall [95%]", WITH),
        Column("p (Holm)", "weighted_kendall_p_holm", p_value),
        Column("Pearson [95%]", lambda row: with_interval(row, "pearson")),
        Column(f"minus {other} [95%]", lambda row: with_interval(row, "difference", partial(number, sign="+"))),
        Column("p of it (Holm)", "difference_p_holm", p_value),
    )
    rows = [_against_row(metric, row, other) for metric, row in facts["estimates"].items()]
    shown = [_against_row(metric, row, other) for metric, row in controls.items()]
    notes = [
        f"{metric} is {row['reason']} (all its scores are equal there); over the other "
        f"{row['where_defined']['targets']} targets its mean is {THREE(row['where_defined']['weighted_kendall'])}."
        for metric, row in facts["estimates"].items()
        if not np.isfinite(row["weighted_kendall"])
    ]
    notes += [
        f"No interval of {metric}: {row['interval_reason']}."
        for metric, row in facts["estimates"].items()
        if row["interval_reason"] and np.isfinite(row["weighted_kendall"])
    ]
    title = f"{name}: {facts['pairs']['compared']} pairs of {counted(facts['pairs']['targets'], 'target')}"
    return table_of(title, columns, [rows, shown], notes)


def _against_row(name: str, row: Row, other: str) -> Row:
    nan = float("nan")
    blank = {"difference": nan, "low": nan, "high": nan, "p_holm": nan}
    difference = row["against"].get(other, blank)
    ends = {f"difference{end}": difference[end[1:]] for end in ("_low", "_high", "_p_holm")}
    return dict(row) | {"name": name, "difference": difference["difference"]} | ends


def pairs_table() -> Table:
    """The methods of Table 1 in pairs over its five targets: t tests and t intervals of the mean difference."""
    rows = paired_methods(published_agreement())
    columns = (
        Column("method", "first"),
        Column("minus", "second"),
        Column(
            "mean difference [95%]", lambda row: with_interval(row, "difference", partial(number, digits=3, sign="+"))
        ),
        Column("t test p", "p", p_value),
        Column("p (Holm)", "p_holm", p_value),
        Column("targets on which it is ahead", "ahead", str),
    )
    of_table_1 = rows["p_holm"].notna()
    return table_of(
        "Weighted Kendall of Table 1, in pairs over the five targets",
        columns,
        [rows[of_table_1], rows[~of_table_1]],
        ["Intervals and p are of a paired t test over 5 targets; Holm over the pairs of Table 1's methods."],
    )


def default_metrics_table(pools: Mapping[str, Facts]) -> Table:
    """The sums by which `rank` chooses its default metrics; those that it chooses come first."""
    columns = (
        Column("metric", "metric"),
        Column("embedded suite", EMBEDDED, THREE),
        Column("Table 1", TABLE_1, THREE),
        *(Column(f"`{name}`", name, THREE) for name in MEDMNIST),
        Column("sum", SUM, THREE),
    )
    rows = sums(pools).reset_index()
    return table_of("Weighted Kendall in four studies, and the sum", columns, [rows[:COUNT], rows[COUNT:]])


def paired_methods(agreement: pd.DataFrame) -> pd.DataFrame:
    """Paired t tests of the methods of Table 1, and of CC-FV with its ablation without variety.

    Args:
        agreement: The result of `analysis.published.published_agreement`.

    Returns:
        Columns first, second, difference (mean over the targets), difference_low, difference_high, p, ahead, p_holm
        (NaN for the ablation).
    """
    values = agreement[agreement["target"] != "mean"].pivot_table(
        index="target", columns="metric", values="weighted_kendall"
    )
    methods = [name for name in agreement["metric"].unique() if " " not in name]
    best_first = sorted(methods, key=lambda name: -values[name].mean())
    pairs = list(combinations(best_first, 2))
    ablation = [("ccfv", name) for name in values.columns if " " in str(name)]
    rows = [_paired(values, first, second) for first, second in [*pairs, *ablation]]
    frame = pd.DataFrame(rows)
    corrected: Sequence[float] = holm(frame["p"].to_numpy()[: len(pairs)]).tolist()
    return frame.assign(p_holm=[*corrected, *[float("nan")] * len(ablation)])


def _paired(values: pd.DataFrame, first: str, second: str) -> Row:
    test = stats.ttest_rel(values[first], values[second])
    interval = test.confidence_interval(LEVEL)
    difference = values[first] - values[second]
    return {
        "first": first,
        "second": second,
        "difference": float(difference.mean()),
        "difference_low": float(interval.low),
        "difference_high": float(interval.high),
        "p": float(test.pvalue),
        "ahead": f"{int((difference > 0).sum())} of {len(difference)}",
    }
