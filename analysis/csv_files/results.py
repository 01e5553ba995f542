"""What the audit writes and prints of a study of CSV files: facts for audit.json, evidence of the report, tables."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from analysis.agreement.measure_table import MEASURES, PRIMARY
from analysis.agreement.rank_measures import UndefinedAgreementWarning, kendall
from analysis.csv_files.study import FileStudy, reliability_where_defined, unreliable_targets
from analysis.evaluation.study import ALL, Study
from analysis.published import POOLS
from analysis.report.evidence import ReportEvidence
from analysis.tables.study_tables import result_table, target_table
from analysis.tables.tables import Table
from analysis.tables.terminal import TerminalTable
from analysis.tables.truth_tables import truth_table
from analysis.tables.verdict import verdict
from analysis.truth.pools import FEWEST_SOURCES, Pool, Scope
from analysis.truth.seed_case_bootstrap import FEWEST_SEEDS
from analysis.truth.truth_table import TruthTable
from benchmark.jobs.terminal import wide_console

ONE_TARGET = "there is one target, so there is no static leaderboard"
NO_TARGET = f"no target has {FEWEST_SOURCES} sources with a value"
MOST_ROWS = 500  # of the pairs that the page lists; audit.json has all
CCFV = "ccfv"
KINDS = {"metric": "estimates", "control": "controls"}  # kind -> field of audit.json


def study_facts(files: FileStudy) -> dict[str, object]:
    """The study as plain data for audit.json.

    Returns:
        `pairs` (compared, sources, targets, left_out), `reliability` of the truth with its ceilings, and `estimates`
        and `controls`: name -> each measure M with M_low and M_high, for the primary ones also M_p and M_p_holm, then
        reason, `where_defined` (the mean over the targets on which it is defined, and their number), `by_group`,
        `targets`, and `against` (the control that it is compared with -> the difference of weighted Kendall).
    """
    pairs = files.pairs
    facts: dict[str, object] = {
        "pairs": {
            "compared": len(pairs.compared),
            "sources": pairs.compared["source"].nunique(),
            "targets": pairs.compared["target"].nunique(),
            "left_out": pairs.left_out.to_dict("records"),
        }
    }
    study = files.study
    if study is None:
        return facts | {"estimates": {}, "controls": {}}
    means = study.agreement_of()
    by_group = study.agreement_of(mean=Scope.MEAN_BY_SCAN)
    for kind, field in KINDS.items():
        rows = means[means["kind"] == kind]
        facts[field] = {
            str(name): _agreement(row, study.agreement_targets(str(name)), by_group)
            | {"against": _against(study, str(name))}
            for name, row in rows.iterrows()
        }
    return facts | {"reliability": _reliability(study)}


def single_target_facts(table: TruthTable, *, resolution: float) -> dict[str, object]:
    """The fields of an audit that need several targets, for a table of one: NaN with the reason."""
    measures = [f"{measure.name}{end}" for measure in PRIMARY for end in ("", "_low", "_high")]
    nan = float("nan")
    target = str(table.truth["target"].iloc[0])
    return {
        "resolution": resolution,
        "static_leaderboard": dict.fromkeys(measures, nan) | {"reason": ONE_TARGET},
        "rank_sd": nan,
        "rank_sd_random": nan,
        "targets": [{"target": target, "sources": table.truth["source"].nunique(), "reason": ONE_TARGET}],
        "sources": [{"source": source, "targets": 1} for source in sorted(table.truth["source"].unique())],
        "sub_pools": {},
    }


def _agreement(row: "pd.Series[float]", targets: pd.DataFrame, by_group: pd.DataFrame) -> dict[str, object]:
    names = [measure.name for measure in MEASURES]
    facts: dict[str, object] = {}
    for name in names:
        facts |= {column: row[column] for column in (name, f"{name}_low", f"{name}_high")}
    for measure in PRIMARY:
        facts |= {f"{measure.name}_{end}": row[f"{measure.name}_{end}"] for end in ("p", "p_holm", "share")}
    facts |= {"sources": row["counted"], "reason": row["reason"], "interval_reason": row["interval_reason"]}
    defined = targets[np.isfinite(targets[PRIMARY[0].name])]
    facts["where_defined"] = {"targets": len(defined)} | {name: float(defined[name].mean()) for name in names}
    if len(by_group):
        mean = by_group.loc[str(row.name)]
        facts["by_group"] = {name: mean[name] for name in names}
    columns: pd.DataFrame = targets.reset_index()[["target", "counted", *names, "reason"]].rename(
        columns={"counted": "sources"}
    )
    return facts | {"targets": columns.to_dict("records")}


def _reliability(study: Study) -> dict[str, object]:
    row = study.reliability_of()
    names = ["seeds", "spread", "seed_sd", "noise"]
    for measure in PRIMARY:
        names += [f"{measure.name}{end}" for end in ("", "_low", "_high", "_ceiling")]
    facts: dict[str, object] = {name: row[name] for name in names}
    facts["where_defined"] = reliability_where_defined(study).to_dict()
    facts["undefined"] = unreliable_targets(study)
    one_seed = pd.Series([one_seed_agreement(pool) for pool in study.pools])
    return facts | {"one_seed_kendall": one_seed.mean(), "reason": row["reason"]}  # over targets where it is defined


def one_seed_agreement(pool: Pool) -> float:
    """Kendall's tau between the ranking by one seed and that by the mean of the others, mean over the seeds.

    NaN for a single seed, and if all sources are equal in one ranking.

    Example:
        >>> one_seed_agreement(Pool("liver", "all", ("a", "b", "c"), (0, 1), np.array([[1, 2], [2, 3], [3, 4]]) / 5))
        1.0
    """
    if len(pool.seeds) < FEWEST_SEEDS:
        return float("nan")
    places = range(len(pool.seeds))
    others = [np.delete(pool.dice, place, axis=1).mean(axis=1) for place in places]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedAgreementWarning)
        return float(np.mean([kendall(pool.dice[:, place], others[place]) for place in places]))


def _against(study: Study, name: str) -> dict[str, object]:
    """The control that an estimate has to beat -> the paired difference of weighted Kendall from it."""
    rows = study.comparisons
    if rows.empty:
        return {}
    here = rows[(rows["metric"] == name) & (rows["other"] != CCFV) & (rows["measure"] == PRIMARY[-1].name)]
    here = here[(here["scope"] == Scope.MEAN) & (here["subset"] == ALL)]
    columns = ["difference", "low", "high", "p", "p_holm", "reason"]
    return {str(row["other"]): {column: row[column] for column in columns} for row in here.to_dict("records")}


def evidence_of(files: FileStudy, *, name: str, settings: Mapping[str, object]) -> ReportEvidence:
    """What the report shows in addition to the study.

    Args:
        files: The study of the files.
        name: The name or path of the table.
        settings: The settings of the command.
    """
    pool = POOLS.get(name)
    source = (
        () if pool is None else (("table", name), ("from", pool.citation), ("licence", pool.licence or "not stated"))
    )
    read = tuple((label, str(settings[label])) for label in ("table", "estimates", "sources") if settings.get(label))
    return ReportEvidence(
        suite=re.sub(r"[^\w.-]+", "_", Path(name).stem),
        limits=files.notes,
        facts={"Files": read} | ({"Published table": source} if source else {}),
        settings=yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True),
        from_files=True,
        pairs=files.pairs.text,
        left_out=left_out_table(files.pairs.left_out),
    )


def left_out_table(left_out: pd.DataFrame) -> Table | None:
    """The pairs that are left out with the reason, at most 500; None if all are compared."""
    if left_out.empty:
        return None
    shown = left_out[["target", "source", "reason"]].head(MOST_ROWS)
    notes = () if len(left_out) <= MOST_ROWS else (f"The first {MOST_ROWS} of {len(left_out)}; audit.json has all.",)
    rows = tuple(tuple(map(str, row)) for row in shown.itertuples(index=False))
    return Table(f"Pairs left out: {len(left_out)}", ("target", "source", "reason"), (rows,), notes)


def show_study(files: FileStudy) -> None:
    """Print the tables of the study, its verdict, and how many pairs are compared and left out."""
    console = wide_console()
    study = files.study
    if study is not None:
        for table in (truth_table(study), result_table(study), target_table(study)):
            console.print(TerminalTable(table))
        console.print(verdict(study).text, highlight=False, soft_wrap=True)
    console.print(f"compared on the same {files.pairs.text}", highlight=False, soft_wrap=True)
    counts = files.pairs.left_out["reason"].value_counts()
    for reason, count in counts.items():
        console.print(f"left out, {reason}: {count}", highlight=False, soft_wrap=True)
    for note in files.notes:
        console.print(note, highlight=False, soft_wrap=True)
