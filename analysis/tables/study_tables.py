"""The tables of a study: the truth, the result of each metric and control, one measure by target, and Table 1.

The report's overview has the columns of the result that both share, and further measures.
"""

from collections.abc import Collection
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from analysis.evaluation.study import ALL, SUBSETS, WITHOUT_WEAK, Study
from analysis.published import CITATION, PUBLISHED
from analysis.tables.number_format import number, p_value, percent, with_interval
from analysis.tables.tables import Column, Row, Table, latex, latex_environment, latex_text, markdown, table_of
from analysis.truth.pools import Scope

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
TABLE_1 = {PRIMARY: r"$\tau_w$", "pearson": r"$\rho$"}  # the measures of Table 1


def _published(row: Row) -> str:
    figures = PUBLISHED.get(row["metric"])
    return ", ".join(number(figures[name]).lstrip("0") for name in ("pearson", PRIMARY)) if figures else ""


def _measure(name: str, *, interval: bool = True) -> Column:
    if not interval:
        return Column(LABELS[name], name)
    note = "Intervals are over sources (BCa for Pearson, percentiles for rank measures, some expanded)."
    return Column(f"{LABELS[name]} [95%]", lambda row: with_interval(row, name), note=note)


METRIC = Column("metric", "metric")
SHARE = Column("share", f"{PRIMARY}_share", percent, "share: of the ceiling of weighted Kendall.")
P = Column("p", f"{PRIMARY}_p", p_value, "p: one-sided, by permutation, for weighted Kendall.")
REGRET = Column(
    "regret",
    lambda row: 100 * row["top1_regret"],
    partial(number, digits=1),
    "regret: Dice points lost by taking the top source.",
)
BY_SCAN = Column("by scan", "by_scan", note="by scan: weighted Kendall, mean over scans.")
# The last columns of the table of results, in the terminal, in Markdown and LaTeX, and of the report's overview.
RESULT_COLUMNS = (
    Column("without weak", "without_weak", note="without weak: weighted Kendall without scratch and short sources."),
    BY_SCAN,
    Column("paper", _published, note=f"paper: Pearson and weighted Kendall of {CITATION}, on another pool."),
    Column("NaN", "gaps", lambda gaps: str(int(gaps)) if gaps else "", "NaN: number of undefined scores."),
    Column("cost [s]", lambda row: "" if row["kind"] == "control" else row["seconds"]),
)


def study_tables(study: Study, *, intervals: Collection[str] = (PRIMARY,)) -> tuple[Table, ...]:
    """All tables of a study in reading order: truth, result, and weighted Kendall and Pearson by target.

    Args:
        study: The study.
        intervals: The measures shown with their interval in the table of results.
    """
    by_target = (target_table(study, measure=measure) for measure in (PRIMARY, "pearson"))
    return (truth_table(study), result_table(study, intervals=intervals), *by_target)


def study_markdown(study: Study) -> str:
    """All tables of a study in Markdown, with intervals for all three headline measures."""
    return "\n".join(map(markdown, study_tables(study, intervals=HEADLINE)))


def study_latex(study: Study) -> str:
    """All tables of a study in LaTeX, with intervals for all three headline measures."""
    return "\n".join(map(latex, study_tables(study, intervals=HEADLINE)))


def truth_table(study: Study) -> Table:
    """The quality of the truth: spread, split-half reliability with its interval, and ceiling.

    The means come first, then each target, then the pools with another choice of what is tuned.
    """
    reliability = (
        "r: reliability, the agreement between the rankings by two halves of the seeds, averaged over all splits; "
        f"interval by bootstrap over the sources, {study.resamples} draws, shared by all targets."
    )
    ceiling = (
        "ceiling (Kendall / Pearson / weighted Kendall): the expected agreement of a perfect predictor with the mean "
        "over all seeds."
    )
    columns = (
        Column("target", _truth_name),
        Column("tuned", "tune"),
        Column("sources x seeds", lambda row: f"{row['sources']:.3g} x {row['seeds']:.3g}"),
        Column("spread", "spread", note="spread: best minus worst Dice."),
        Column("seed sd", "seed_sd", partial(number, digits=3)),
        Column("r Kendall [95%]", lambda row: with_interval(row, "kendall"), note=reliability),
        Column("r Pearson", "pearson"),
        Column("r weighted", PRIMARY),
        Column(
            "ceiling K / P / w",
            lambda row: " / ".join(number(row[f"{name}_ceiling"]) for name in ("kendall", "pearson", PRIMARY)),
            note=ceiling,
        ),
    )
    rows = study.reliability
    means, here, every = rows["scope"] != Scope.TARGET, rows["tune"] == study.tune, rows["subset"] == ALL
    targets = rows[~means & here & every]
    notes = ["without weak: without scratch and short sources."]
    notes += [f"{row['target']}: {row['reason']}" for row in targets.to_dict("records") if row["reason"]]
    if study.tune == "head":
        notes.append("Only the head was tuned, so the truth is a linear probe, which favours LogME and H-score.")
    title = f"The truth: Dice after fine-tuning (tuned: {study.tune})"
    return table_of(title, columns, (rows[means & here], targets, rows[~here & every]), notes)


def _truth_name(row: Row) -> str:
    name = str(row["target"]) or str(row["scope"]).replace("_", " ")
    return name + (", without weak" if row["subset"] == WITHOUT_WEAK else "")


def result_table(study: Study, *, intervals: Collection[str] = (PRIMARY,)) -> Table:
    """The mean over targets of each metric, then of each control, best first; arguments as in `study_tables`."""
    measures = (_measure(name, interval=name in intervals) for name in HEADLINE)
    by_scan = (study.agreement["scope"] == Scope.MEAN_BY_SCAN).any()
    last = (column for column in RESULT_COLUMNS if by_scan or column is not BY_SCAN)
    return _result(study, (METRIC, *measures, SHARE, P, REGRET, *last))


def overview_table(study: Study) -> Table:
    """The result with every measure, p-values corrected for several metrics, and wins over the static leaderboard."""
    return _result(
        study,
        (
            METRIC,
            _measure(PRIMARY),
            replace(SHARE, label="share of ceiling"),
            P,
            Column("p (Holm)", f"{PRIMARY}_p_holm", p_value),
            Column("beats static", lambda row: "" if row["metric"] == STATIC else row["beats_static"], percent),
            *map(_measure, ("pearson", "kendall")),
            *(_measure(name, interval=False) for name in ("spearman", "rel_1", "rel_3", "ndcg")),
            replace(REGRET, label="top-1 regret"),
            *RESULT_COLUMNS,
        ),
    )


def _result(study: Study, columns: tuple[Column, ...]) -> Table:
    means, by_target = study.agreement_of(), target_rows(study)
    wins = comparison_rows(study, STATIC)
    rows = means.assign(
        without_weak=study.agreement_of(subset=WITHOUT_WEAK)[PRIMARY],
        by_scan=study.agreement_of(mean=Scope.MEAN_BY_SCAN)[PRIMARY],
        gaps=(by_target["sources"] - by_target["counted"]).groupby(by_target["metric"]).sum(),
        beats_static=wins.set_index("metric")["probability"] if len(wins) else np.nan,
    ).reset_index()
    seeds = sorted({len(pool.seeds) for pool in study.pools})
    fewest, most = (extreme(len(pool.sources) for pool in study.pools) for extreme in (min, max))
    title = (
        f"Agreement with the truth: mean over {means['targets'].iloc[0]} targets, "
        f"{fewest if fewest == most else f'{fewest} to {most}'} sources each, "
        f"{' or '.join(map(str, seeds))} fine-tuning seeds (tuned: {study.tune})"
    )
    reasons = by_target[by_target["reason"] != ""].groupby(["metric", "reason"], sort=False)["target"]
    explained = (f"{metric} on {', '.join(targets)}: {reason}" for (metric, reason), targets in reasons)
    return table_of(title, columns, by_kind(rows), ("best_in_hindsight sees the answer.", *explained))


def target_table(study: Study, *, measure: str = PRIMARY) -> Table:
    """One measure, a column of `study.agreement`, by target; those with another choice of what is tuned come last."""
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["scope"] != Scope.MEAN_BY_SCAN)]
    labels = {("", study.tune): str(Scope.MEAN)} | {(pool.target, pool.tune): pool.target for pool in study.pools}
    labels |= {(pool.target, pool.tune): f"{pool.target} ({pool.tune})" for pool in study.other_pools}
    values = rows.set_index(["metric", "target", "tune"])[measure]

    def column(label: str, key: tuple[str, str]) -> Column:
        return Column(label, lambda row: float(values.get((row["metric"], *key), np.nan)))

    columns = (METRIC, *(column(label, key) for key, label in labels.items()))
    title = f"By target: {LABELS[measure]}, {SUBSETS[ALL]} (tuned: {study.tune})"
    return table_of(title, columns, by_kind(study.agreement_of().reset_index()))


def target_rows(study: Study) -> pd.DataFrame:
    """The rows of `study.agreement` of the targets in the main study, over all sources."""
    rows = study.agreement
    return rows[(rows["subset"] == ALL) & (rows["tune"] == study.tune) & (rows["scope"] == Scope.TARGET)]


def comparison_rows(study: Study, other: str) -> pd.DataFrame:
    """The comparisons of weighted Kendall, mean over targets, with `other` in the main study; may be empty."""
    rows = study.comparisons
    wanted = {"subset": ALL, "tune": study.tune, "scope": Scope.MEAN, "measure": PRIMARY, "other": other}
    return rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)] if len(rows) else rows


def by_kind(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of metrics, and those of controls."""
    return rows[rows["kind"] == "metric"], rows[rows["kind"] == "control"]


def latex_table(study: Study) -> str:
    """The paper's Table 1: weighted Kendall and Pearson of each method, by target and as means; best in bold.

    The last column gives the published means of Yang et al. (MICCAI 2023, arXiv 2307.11958), which are for another pool
    and other targets. Metrics come in descending order of weighted Kendall, then controls.
    """
    targets = [pool.target for pool in study.pools]
    kinds = study.agreement_of()["kind"]
    lines = []
    for name, kind in kinds.items():
        by_target = study.agreement_targets(str(name))
        for place, (measure, label) in enumerate(TABLE_1.items()):
            mean = study.agreement_of()[measure].get(name, np.nan)
            published = PUBLISHED.get(str(name), {}).get(measure, np.nan)
            head = [kind, measure, name if place == 0 else "", label]
            lines.append([*head, *by_target[measure].reindex(targets), mean, published])
    frame = pd.DataFrame(lines, columns=["kind", "measure", "Method", "", *targets, "Mean", "Published"])
    style = frame.drop(columns=["kind", "measure"]).style.format(precision=3, na_rep="--")
    style = style.format(escape="latex", subset=["Method"])
    for measure in TABLE_1:
        metrics = (frame["kind"] == "metric") & (frame["measure"] == measure)
        style = style.highlight_max(subset=(metrics, [*targets, "Mean"]), props="textbf:--rwrap;")
    truth = study.reliability_of()
    caption = (
        f"Agreement of transferability estimates with the Dice after fine-tuning (tuned: {latex_text(study.tune)}; "
        f"{truth['sources']:.3g} sources per target, {truth['seeds']:.3g} seeds): weighted Kendall $\\tau_w$ and "
        f"Pearson $\\rho$. Reliability of the truth {truth['kendall']:.2f} (Kendall, split half), ceiling of $\\tau_w$ "
        f"{truth['weighted_kendall_ceiling']:.2f}. Published: mean over five MSD CT targets, {latex_text(CITATION)}."
    )
    groups = [len(part) for part in by_kind(frame)]
    return latex_environment(style, groups=groups, columns=f"ll{'r' * len(targets)}rr", caption=caption) + "\n"
