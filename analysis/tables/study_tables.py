"""The tables of a study: the truth, the gain over scratch, each metric and control, one measure by target, and Table 1.

The report's overview has the columns of the result that both share, and further measures.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.evaluation.study import ALL, SUBSETS, WITHIN_FAMILIES, WITHOUT_WEAK, Study
from analysis.published import CITATION, PUBLISHED
from analysis.tables.number_format import UNDEFINED, number, p_value, percent, with_interval
from analysis.tables.tables import Column, Row, Table, latex, latex_environment, latex_text, markdown, table_of
from analysis.truth.pools import Scope
from analysis.truth.quality import MOST_RESAMPLES, Noise

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
TABLE_1 = {PRIMARY: r"$\tau_w$", "pearson": r"$\rho$"}  # the measures of Table 1


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


DICE = partial(number, digits=3)  # differences of a few thousandths count
METRIC = Column("metric", "metric")
SHARE = Column("share", f"{PRIMARY}_share", percent, "share: of the ceiling of weighted Kendall.")
P = Column(
    "p",
    f"{PRIMARY}_p",
    p_value,
    "p: one-sided, by permutation, for weighted Kendall; for estimates within families if there are several.",
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
    "regret: Dice points lost by taking the top source.",
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
# The last columns of the table of results, in the terminal, in Markdown and LaTeX, and of the report's overview.
RESULT_COLUMNS = (
    WITHIN_NOISE,
    CHANCE,
    FAMILIES,
    OVER_FAMILIES,
    Column("without weak", "without_weak", note="without weak: weighted Kendall without scratch and short sources."),
    BY_SCAN,
    Column("paper", _published, note=f"paper: Pearson and weighted Kendall of {CITATION}, on another pool."),
    Column("NaN", "gaps", lambda gaps: str(int(gaps)) if gaps else "", "NaN: number of undefined scores."),
    Column("cost [s]", lambda row: "" if row["kind"] == "control" else row["seconds"]),
)


def study_tables(study: Study, *, intervals: Collection[str] = (PRIMARY,)) -> tuple[Table, ...]:
    """All tables of a study in reading order: truth, gain, result, and weighted Kendall and Pearson by target.

    Args:
        study: The study.
        intervals: The measures shown with their interval in the table of results.
    """
    by_target = (target_table(study, measure=measure) for measure in (PRIMARY, "pearson"))
    return (truth_table(study), gain_table_of(study), result_table(study, intervals=intervals), *by_target)


def study_markdown(study: Study) -> str:
    """All tables of a study in Markdown, with intervals for all three headline measures."""
    return "\n".join(map(markdown, study_tables(study, intervals=HEADLINE)))


def study_latex(study: Study) -> str:
    """All tables of a study in LaTeX, with intervals for all three headline measures."""
    return "\n".join(map(latex, study_tables(study, intervals=HEADLINE)))


def truth_table(study: Study) -> Table:
    """The quality of the truth: spread, reliability with its interval, and ceiling.

    The means come first, then each target, then the pools with another choice of what is tuned.
    """
    rows = study.reliability
    rows = rows.assign(shown=[_truth_name(row, study.group) for row in rows.to_dict("records")])
    means, here, every = rows["scope"] != Scope.TARGET, rows["tune"] == study.tune, rows["subset"] == ALL
    targets = rows[~means & here & every]
    crossed = targets["noise"].isin({Noise.SEEDS_AND_CASES})
    unknown = targets.loc[targets["noise"] == Noise.SEEDS, "target"]
    notes = ["without weak: without scratch and short sources."]
    if crossed.any() and len(unknown):
        notes.append(f"Over seeds only: {', '.join(unknown)}.")
    notes += [f"{row['target']}: {row['reason']}" for row in targets.to_dict("records") if row["reason"]]
    if study.tune == "head":
        notes.append("Only the head was tuned, so the truth is a linear probe, which favours LogME and H-score.")
    title = f"The truth: Dice after fine-tuning (tuned: {study.tune})"
    columns = _truth_columns(min(study.resamples, MOST_RESAMPLES), cases=bool(crossed.any()))
    shown = rows[means & here & ((len(study.pools) > 1) | (rows["subset"] != ALL))]
    return table_of(title, columns, (shown, targets, rows[~here & every]), notes)


def _truth_columns(resamples: int, *, cases: bool) -> tuple[Column, ...]:
    """The columns of the table of the truth; `cases` says whether reliability is also over test cases."""
    noise = "seeds and test cases" if cases else "seeds"
    reliability = (
        f"r: reliability, the expected agreement with the mean Dice over as many other {noise}, from the agreement of "
        f"halves; intervals by bootstrap over the sources, {resamples} draws shared by all targets."
    )
    over_seeds = Column(
        "over seeds [95%]",
        lambda row: with_interval(row, "kendall_over_seeds"),
        note="over seeds: the same with other seeds on the same test cases.",
    )
    by_noise = Column(
        "by noise alone",
        "by_noise",
        DICE,
        "by noise alone: best - median if all sources were equally good. Unless best - median is clearly larger, "
        "choosing a source does not matter.",
    )
    return (
        Column("target", "shown"),
        Column("tuned", "tune"),
        Column("sources x seeds", lambda row: f"{row['sources']:.3g} x {row['seeds']:.3g}"),
        Column("spread", "spread", note="spread: best minus worst Dice."),
        Column("best - median", "best_minus_median", DICE),
        by_noise,
        Column("seed sd", "seed_sd", DICE),
        Column("r Kendall [95%]", lambda row: with_interval(row, "kendall"), note=reliability),
        *([over_seeds] if cases else []),
        Column("r Pearson", "pearson"),
        Column("r weighted", PRIMARY),
        Column(
            "ceiling K / P / w",
            lambda row: " / ".join(number(row[f"{name}_ceiling"]) for name in ("kendall", "pearson", PRIMARY)),
            note="ceiling (Kendall / Pearson / weighted Kendall): the expected agreement of a perfect predictor with "
            f"the mean over all {noise}.",
        ),
    )


def gain_table_of(study: Study) -> Table:
    """The gain over training from scratch of each architecture: mean over targets, then each target.

    If no pool has a scratch source, the only row says so.
    """
    rows = study.gain
    title = f"Gain over training from scratch, by architecture (tuned: {study.tune})"
    if not (rows["sources"] > 0).any():
        nothing = "no pool has a source trained from scratch with the architecture and width of a pre-trained one"
        return Table(title, ("gain",), (((nothing,),),))
    columns = (
        Column("target", lambda row: str(row["target"]) or str(row["scope"])),
        Column("architecture", "arch"),
        Column("pre-trained sources", lambda row: f"{row['sources']:.3g}" if row["sources"] else ""),
        Column("from scratch", "scratch_dice", DICE, "from scratch, pre-trained: mean Dice."),
        Column("pre-trained", "dice", DICE),
        Column(
            "gain [95%]",
            lambda row: with_interval(row, "gain", partial(number, digits=3, sign="+")),
            note="gain: of the pre-trained sources over the network of the same architecture and width trained from "
            "scratch; interval over sources and fine-tuning seeds.",
        ),
        Column("remark", "reason"),
    )
    means = rows["scope"] == Scope.MEAN
    return table_of(title, columns, (rows[means], rows[~means]))


def _truth_name(row: Row, group: str) -> str:
    name = str(row["target"]) or str(row["scope"]).replace("_", " ").replace("scan", group)
    return name + (", without weak" if row["subset"] == WITHOUT_WEAK else "")


def result_table(study: Study, *, intervals: Collection[str] = (PRIMARY,)) -> Table:
    """The mean over targets of each metric, then of each control, best first; arguments as in `study_tables`."""
    measures = (_measure(name, interval=name in intervals) for name in HEADLINE)
    return _result(study, (METRIC, *measures, SHARE, P, P_MAX, REGRET, *RESULT_COLUMNS))


def overview_table(study: Study) -> Table:
    """The result with every measure, p-values corrected for several metrics, and wins over the static leaderboard."""
    return _result(
        study,
        (
            METRIC,
            _measure(PRIMARY),
            replace(SHARE, label="share of ceiling"),
            P,
            P_MAX,
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
    several = not study.agreement_of(subset=WITHIN_FAMILIES).empty
    unused = set() if several else {FAMILIES, OVER_FAMILIES}
    unused |= set() if (study.agreement["scope"] == Scope.MEAN_BY_SCAN).any() else {BY_SCAN}
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
        f"{' or '.join(map(str, seeds))} fine-tuning seeds (tuned: {study.tune})"
    )
    reasons = by_target[by_target["reason"] != ""].groupby(["metric", "reason"], sort=False)["target"]
    explained = (f"{metric} on {', '.join(targets)}: {reason}" for (metric, reason), targets in reasons)
    return table_of(
        title,
        columns,
        by_kind(rows),
        (*weighted_kendall_notes(study), *_seeing(rows["metric"]), *explained, *_within_notes(study)),
    )


def _seeing(metrics: Collection[str]) -> list[str]:
    return [f"{name} sees the answer." for name in ("best_in_hindsight", "architecture") if name in set(metrics)]


def _over(study: Study) -> str:
    targets = [pool.target for pool in study.pools]
    return f"mean over {len(targets)} targets" if len(targets) > 1 else targets[0]


def _within_notes(study: Study) -> list[str]:
    """Why agreement within families is undefined, or not that of all targets."""
    rows = study.agreement_of(subset=WITHIN_FAMILIES)["reason"]
    by_reason = {reason: ", ".join(map(str, part.index)) for reason, part in rows[rows != ""].groupby(rows, sort=False)}
    return [f"within families, {metrics}: {reason}." for reason, metrics in by_reason.items()]


def weighted_kendall_notes(study: Study) -> list[str]:
    """What weighted Kendall is, what scores that tell nothing reach in this pool, and why it has no interval."""
    means: Mapping[Any, Row] = study.agreement_of().to_dict("index")
    named = WEIGHTED_KENDALL_IS
    random = means.get(RANDOM, {f"{PRIMARY}_chance": np.nan})
    if np.isfinite(random[f"{PRIMARY}_chance"]):
        average, high = (number(random[f"{PRIMARY}_{end}"]) for end in ("chance", "chance_high"))
        named += (
            f" For scores independent of the Dice, its mean over the targets of this study ({random['targets']}) is "
            f"{average} on average and above {high} in 5%."
        )
    without: dict[str, list[str]] = {}
    for metric, row in means.items():
        if row["interval_reason"] and np.isfinite(row[PRIMARY]):
            without.setdefault(row["interval_reason"].replace(PRIMARY, LABELS[PRIMARY]), []).append(str(metric))
    return [named, *(f"No interval of {', '.join(metrics)}: {reason}." for reason, metrics in without.items())]


def target_table(study: Study, *, measure: str = PRIMARY) -> Table:
    """One measure, a column of `study.agreement`, by target; those with another choice of what is tuned come last."""
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["scope"] != Scope.MEAN_BY_SCAN)]
    labels = {("", study.tune): str(Scope.MEAN)} if len(study.pools) > 1 else {}
    labels |= {(pool.target, pool.tune): pool.target for pool in study.pools}
    labels |= {(pool.target, pool.tune): f"{pool.target} ({pool.tune})" for pool in study.other_pools}
    values = rows.set_index(["metric", "target", "tune"])[measure]

    def column(label: str, key: tuple[str, str]) -> Column:
        return Column(label, lambda row: float(values.get((row["metric"], *key), np.nan)))

    columns = (METRIC, *(column(label, key) for key, label in labels.items()))
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
    noise = truth["noise"] or Noise.SEEDS
    measure = "Dice" if study.measure == "dice" else latex_text(study.measure)
    tuned = latex_text(study.tune)
    caption = (
        f"Agreement of transferability estimates with the {measure} after fine-tuning (tuned: {tuned}; "
        f"{truth['sources']:.3g} sources per target, {truth['seeds']:.3g} seeds): weighted Kendall $\\tau_w$ and "
        f"Pearson $\\rho$. Reliability of the truth {truth['kendall']:.2f} (Kendall, over {noise}), "
        f"ceiling of $\\tau_w$ {truth['weighted_kendall_ceiling']:.2f}. Published: mean over five MSD CT targets, "
        f"{latex_text(CITATION)}."
    )
    groups = [len(part) for part in by_kind(frame)]
    return latex_environment(style, groups=groups, columns=f"ll{'r' * len(targets)}rr", caption=caption) + "\n"
