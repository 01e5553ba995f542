"""The tables of a study: each metric and control, one measure by target, and all tables in reading order.

The report's overview has the columns of the result that both share, and further measures.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.kinds import CONTROL, KINDS, TRAINING, shown_name
from analysis.evaluation.study import ALL, FINE_TUNING, SUBSETS, WITHIN_FAMILIES, WITHOUT_WEAK, Study
from analysis.published import CITATION, PUBLISHED
from analysis.tables.number_format import UNDEFINED, number, p_value, percent, with_interval
from analysis.tables.published_tables import published_tables
from analysis.tables.repeated_tables import repeated_tables
from analysis.tables.tables import Column, Row, Table, latex, markdown, table_of
from analysis.tables.truth_tables import budget_tables, gain_table_of, truth_table
from analysis.truth.pools import Scope, place_name

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
PRIMARY = "weighted_kendall"
STATIC = "static_leaderboard"
RANDOM = "random"
WEIGHTED_KENDALL_IS = "Weighted Kendall is scipy.stats.weightedtau with its default arguments."
SHORT_FINE_TUNING_IS = (
    "short fine-tuning: the Dice on validation cases after that share of the steps; its cost is the training up to "
    "there. A choice made with one seed is judged by the others, a noisier truth, so its figures are a little too low."
)


def _published(row: Row) -> str:
    figures = PUBLISHED.get(row["metric"])
    return ", ".join(number(figures[name]).lstrip("0") for name in ("pearson", PRIMARY)) if figures else ""


def _measure(name: str, *, interval: bool = True) -> Column:
    if not interval:
        return Column(LABELS[name], name)
    note = (
        "Intervals are over sources (BCa for Pearson, percentiles for rank measures, some expanded): what other "
        "sources like these could give, on the same targets, cases and seeds."
    )
    return Column(f"{LABELS[name]} [95%]", lambda row: with_interval(row, name), note=note)


def _ends(row: Row, name: str) -> str:
    low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
    return UNDEFINED if np.isnan([low, high]).any() else f"[{number(low)}, {number(high)}]"


NAME = Column("metric", lambda row: shown_name(row["metric"]))
SHARE = Column("share", f"{PRIMARY}_share", percent, "share: of the ceiling of weighted Kendall.")
P = Column(
    "p",
    f"{PRIMARY}_p",
    p_value,
    "p: one-sided, by permutation, for weighted Kendall; within families if there are several, except for controls.",
)
P_MAX = Column(
    "p of many",
    f"{PRIMARY}_p_max",
    p_value,
    "p of many: corrected for having looked at all estimates (max-T over the same permutations).",
)
REGRET = Column(
    "regret",
    lambda row: 100 * row["top1_regret"],
    partial(number, digits=1),
)
WITHIN_NOISE = Column(
    "within noise",
    "within_noise",
    percent,
    "within noise: share of targets on which the top source is within the seeds' noise of the best.",
)
CHANCE = Column(
    "chance",
    lambda row: row[f"{PRIMARY}_chance"],
    note="chance: mean weighted Kendall of the permutations; above 0 where scores are tied, and for an estimate that "
    "tells families of sources apart.",
)
FAMILIES = Column(
    "within families",
    "within_families",
    note="within families: weighted Kendall among the sources of one family, mean over families; near 0 if an estimate "
    "only tells families apart.",
)
OVER_FAMILIES = Column(
    "over families [95%]",
    lambda row: _ends(row, f"{PRIMARY}_families"),
    note="over families: the interval for another choice of families; none for fewer than 3.",
)
BY_SCAN = Column("by scan", "by_scan", note="by scan: weighted Kendall, mean over scans.")
BY_GROUP = Column("by group", "by_scan", note="by group: weighted Kendall, mean over groups of targets.")
PAPER = Column("paper", _published, note=f"paper: Pearson and weighted Kendall of {CITATION}, on another pool.")
COST = Column("cost [s]", lambda row: "" if row["kind"] == CONTROL else row["seconds"])
# The last columns of the table of results, in the terminal, in Markdown and LaTeX, and of the report's overview.
RESULT_COLUMNS = (
    WITHIN_NOISE,
    CHANCE,
    FAMILIES,
    OVER_FAMILIES,
    Column("without weak", "without_weak", note="without weak: weighted Kendall without scratch and short sources."),
    BY_SCAN,
    PAPER,
    Column("NaN", "gaps", lambda gaps: str(int(gaps)) if gaps else "", "NaN: number of undefined scores."),
    COST,
)


def study_tables(study: Study, *, intervals: Collection[str] = (PRIMARY,)) -> tuple[Table, ...]:
    """All tables of a study in reading order.

    These are truth, gain, longer training, result, weighted Kendall and Pearson by target, repeated pre-training, the
    paper's.

    Args:
        study: The study.
        intervals: The measures shown with their interval in the table of results.
    """
    by_target = (target_table(study, measure=measure) for measure in (PRIMARY, "pearson"))
    result = result_table(study, intervals=intervals)
    truth = (truth_table(study), gain_table_of(study), *budget_tables(study))
    return (*truth, result, *by_target, *repeated_tables(study), *published_tables(study))


def study_markdown(study: Study) -> str:
    """All tables of a study in Markdown, with intervals for all three headline measures."""
    return "\n".join(map(markdown, study_tables(study, intervals=HEADLINE)))


def study_latex(study: Study) -> str:
    """All tables of a study in LaTeX, with intervals for all three headline measures."""
    return "\n".join(map(latex, study_tables(study, intervals=HEADLINE)))


def result_table(study: Study, *, intervals: Collection[str] = (PRIMARY,)) -> Table:
    """The mean over targets of each metric, short fine-tuning and control; arguments as in `study_tables`."""
    measures = (_measure(name, interval=name in intervals) for name in HEADLINE)
    return _result(study, (NAME, *measures, SHARE, P, P_MAX, _regret(study), *RESULT_COLUMNS))


def overview_table(study: Study) -> Table:
    """The result with every measure, p-values corrected for several metrics, and wins over the static leaderboard."""
    return _result(
        study,
        (
            NAME,
            _measure(PRIMARY),
            replace(SHARE, label="share of ceiling"),
            P,
            P_MAX,
            Column("p (Holm)", f"{PRIMARY}_p_holm", p_value),
            Column("beats static", lambda row: "" if row["metric"] == STATIC else row["beats_static"], percent),
            *map(_measure, ("pearson", "kendall")),
            *(_measure(name, interval=False) for name in ("spearman", "rel_1", "rel_3", "ndcg")),
            replace(_regret(study), label="top-1 regret"),
            *RESULT_COLUMNS,
        ),
    )


def _result(study: Study, columns: tuple[Column, ...]) -> Table:
    means, by_target = study.agreement_of(), target_rows(study)
    wins = comparison_rows(study, STATIC)
    unused = _unused(study)
    columns = tuple(column for column in columns if column not in unused)
    if study.group != "scan":
        columns = tuple(BY_GROUP if column is BY_SCAN else column for column in columns)
    rows = means.assign(
        within_families=study.agreement_of(subset=WITHIN_FAMILIES)[PRIMARY],
        without_weak=study.agreement_of(subset=WITHOUT_WEAK)[PRIMARY],
        by_scan=study.agreement_of(mean=Scope.MEAN_BY_SCAN)[PRIMARY],
        gaps=(by_target["sources"] - by_target["counted"]).groupby(by_target["metric"]).sum(),
        beats_static=wins.set_index("metric")["probability"] if len(wins) else np.nan,
    ).reset_index()
    seeds = sorted({len(pool.seeds) for pool in study.pools})
    fewest, most = (extreme(len(pool.sources) for pool in study.pools) for extreme in (min, max))
    title = (
        f"Agreement with the truth: {_over(study)}, "
        f"{fewest if fewest == most else f'{fewest} to {most}'} sources each, "
        f"{' or '.join(map(str, seeds))} fine-tuning {'seed' if seeds == [1] else 'seeds'} (tuned: {study.tune})"
    )
    reasons = by_target[by_target["reason"] != ""].groupby(["metric", "reason"], sort=False)["target"]
    explained = (
        f"{shown_name(str(metric))} on {', '.join(targets)}: {reason}" for (metric, reason), targets in reasons
    )
    return table_of(
        title,
        columns,
        by_kind(rows),
        (
            *weighted_kendall_notes(study),
            *([SHORT_FINE_TUNING_IS] if (rows["kind"] == TRAINING).any() else []),
            *_seeing(rows["metric"]),
            *explained,
            *_within_notes(study),
        ),
    )


def _unused(study: Study) -> set[Column]:
    """The columns that have nothing to show: for one family, without scans, and for scores that no run has made."""
    unused = {FAMILIES, OVER_FAMILIES} if study.agreement_of(subset=WITHIN_FAMILIES).empty else set()
    if not (study.agreement["scope"] == Scope.MEAN_BY_SCAN).any():
        unused.add(BY_SCAN)
    if study.truth_from != FINE_TUNING:
        unused.add(PAPER)
    means = study.agreement_of()
    if not means.loc[means["kind"] != CONTROL, "seconds"].notna().any():
        unused.add(COST)
    return unused


def _regret(study: Study) -> Column:
    return replace(REGRET, note=f"regret: {study.measure_name} points lost by taking the top source.")


def _seeing(metrics: Collection[str]) -> list[str]:
    return [f"{name} sees the answer." for name in ("best_in_hindsight", "architecture") if name in set(metrics)]


def _over(study: Study) -> str:
    targets = [pool.target for pool in study.pools]
    return f"mean over {len(targets)} targets" if len(targets) > 1 else targets[0]


def _within_notes(study: Study) -> list[str]:
    """Why agreement within families is undefined, or not that of all targets."""
    rows = study.agreement_of(subset=WITHIN_FAMILIES)["reason"]
    groups = rows[rows != ""].groupby(rows, sort=False)
    by_reason = {reason: ", ".join(map(shown_name, map(str, part.index))) for reason, part in groups}
    return [f"within families, {metrics}: {reason}." for reason, metrics in by_reason.items()]


def weighted_kendall_notes(study: Study) -> list[str]:
    """What weighted Kendall is, what scores that tell nothing reach in this pool, and why it has no interval."""
    means: Mapping[Any, Row] = study.agreement_of().to_dict("index")
    named = WEIGHTED_KENDALL_IS
    random = means.get(RANDOM, {f"{PRIMARY}_chance": np.nan})
    if np.isfinite(random[f"{PRIMARY}_chance"]):
        average, high = (number(random[f"{PRIMARY}_{end}"]) for end in ("chance", "chance_high"))
        named += (
            f" For scores independent of the {study.measure_name}, its mean over the targets of this study "
            f"({random['targets']}) is {average} on average and above {high} in 5%."
        )
    without: dict[str, list[str]] = {}
    for metric, row in means.items():
        if row["interval_reason"] and np.isfinite(row[PRIMARY]):
            without.setdefault(row["interval_reason"].replace(PRIMARY, LABELS[PRIMARY]), []).append(shown_name(metric))
    return [named, *(f"No interval of {', '.join(metrics)}: {reason}." for reason, metrics in without.items())]


def target_table(study: Study, *, measure: str = PRIMARY) -> Table:
    """One measure, a column of `study.agreement`, by target.

    Those with another choice of what is tuned or with another patient come last.
    """
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["scope"] != Scope.MEAN_BY_SCAN)]
    labels = {("", study.tune): str(Scope.MEAN)} if len(study.pools) > 1 else {}
    labels |= {(pool.target, pool.tune): pool.target for pool in study.pools}
    others = ((pool.target, pool.tune) for pool in study.other_pools)
    labels |= {(target, tune): place_name(target, tune, main=study.tune) for target, tune in others}
    values = rows.set_index(["metric", "target", "tune"])[measure]

    def column(label: str, key: tuple[str, str]) -> Column:
        return Column(label, lambda row: float(values.get((row["metric"], *key), np.nan)))

    columns = (NAME, *(column(label, key) for key, label in labels.items()))
    title = f"By target: {LABELS[measure]}, {SUBSETS[ALL]} (tuned: {study.tune})"
    notes = weighted_kendall_notes(study)[:1] if measure == PRIMARY else []
    return table_of(title, columns, by_kind(study.agreement_of().reset_index()), notes)


def target_rows(study: Study) -> pd.DataFrame:
    """The rows of `study.agreement` of the targets in the main study, over all sources."""
    rows = study.agreement
    return rows[(rows["subset"] == ALL) & (rows["tune"] == study.tune) & (rows["scope"] == Scope.TARGET)]


def comparison_rows(study: Study, other: str) -> pd.DataFrame:
    """The comparisons of weighted Kendall, mean over targets, with `other` in the main study; may be empty."""
    rows = study.comparisons
    wanted = {"subset": ALL, "tune": study.tune, "scope": Scope.MEAN, "measure": PRIMARY, "other": other}
    return rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)] if len(rows) else rows


def by_kind(rows: pd.DataFrame) -> tuple[pd.DataFrame, ...]:
    """The rows of metrics, those of short fine-tuning if there are any, and those of controls."""
    return tuple(part for kind in KINDS if len(part := rows[rows["kind"] == kind]) or kind != TRAINING)
