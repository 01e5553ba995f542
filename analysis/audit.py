"""Audit a truth, and estimates of it, from CSV files; `python -m analysis.audit table=FILE.csv [estimates=FILE.csv]`.

Without estimates it measures how hard the truth is to predict; with estimates it compares them with the truth. In both
cases it writes the same report as the bench, without a run, a network or a store. `--example` writes a template.

If the same sources are good on every target, a fixed list of them (the static leaderboard,
`analysis.evaluation.controls`) ranks every new target well, and an estimate that does no better has shown nothing
(arXiv 2510.06448). The audit reports the agreement of that list, the variation of the sources' ranks between targets,
the spread of the sources, the share of pairs tied within a resolution of the Dice, and the influence of single targets
and sources.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from analysis.agreement.measure_table import PRIMARY, WEIGHTED_KENDALL
from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.agreement.source_bootstrap import SourceDraws, draw
from analysis.csv_files.estimates import EstimateTable, read_estimates
from analysis.csv_files.example import show_example, write_example
from analysis.csv_files.published_page import write_published
from analysis.csv_files.results import NO_TARGET, evidence_of, show_study, single_target_facts, study_facts
from analysis.csv_files.sources import read_sources
from analysis.csv_files.study import FileStudy, study_of_files
from analysis.evaluation.controls import static_leaderboard
from analysis.evaluation.evaluate import Evaluation, evaluate, mean_evaluation
from analysis.evaluation.prepared_truth import PreparedTruth
from analysis.evaluation.rows import measured
from analysis.published import POOLS, published_path
from analysis.report import write_report
from analysis.tables.number_format import number, percent, strict_json
from analysis.tables.study_tables import LABELS, STATIC, WEIGHTED_KENDALL_IS
from analysis.tables.tables import Column, Row, Table, table_of
from analysis.tables.terminal import TerminalTable
from analysis.truth.dispersion import Dispersion, dispersion, rank_table
from analysis.truth.pools import Pool, Scope, measure_name, pools
from analysis.truth.truth_table import TruthTable, read_table
from benchmark.errors import InputError
from benchmark.jobs.cli import entry_point
from benchmark.jobs.terminal import wide_console
from benchmark.storage.files import write_text

TABLE_COLUMNS = ("source", "target", "dice")
BETTER_HALF = "better half"
FOLDER, EXAMPLE = "audit", "audit_example"  # folders in `output_dir`
RESOLUTION = 0.005  # half a Dice point, about the effect of another fine-tuning seed in large studies

SHOWN = ("weighted_kendall", "kendall", "pearson")


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        static: Pearson, Kendall and weighted Kendall -> the static leaderboard's mean agreement over targets (each left
            out in turn), with `_low` and `_high` of its 95% interval over sources.
        reason: Why the agreement is NaN, or "".
        dispersion: How much the ranks of the sources vary between targets.
        resolution: Two Dice this close count as tied.
        by_target: One row per target: sources, spread, tied (share of pairs), the static leaderboard's agreement, and
            `weighted_kendall_others`, the mean over the other targets.
        by_source: One row per source: targets, mean_rank (1 is best), rank_sd, and `weighted_kendall_without`, the
            static leaderboard's mean agreement without this source.
    """

    static: dict[str, float]
    reason: str
    dispersion: Dispersion
    resolution: float
    by_target: pd.DataFrame
    by_source: pd.DataFrame

    def facts(self) -> dict[str, object]:
        """The audit as plain data: `static_leaderboard` with measures and intervals, and the other fields."""
        return {
            "static_leaderboard": self.static | {"reason": self.reason},
            "rank_sd": self.dispersion.rank_sd,
            "rank_sd_random": self.dispersion.rank_sd_random,
            "resolution": self.resolution,
            "targets": self.by_target.to_dict("records"),
            "sources": self.by_source.to_dict("records"),
        }


def audit(
    table: pd.DataFrame,
    *,
    sources: Collection[str] | None = None,
    resolution: float = RESOLUTION,
    resamples: int = 2000,
    seed: int = 0,
) -> Audit:
    """Audit a table of truth.

    Args:
        table: Columns source, target, dice (a fraction), and optionally seed; the Dice of a pair is the mean over its
            seeds.
        sources: The sub-pool to audit; None for all sources.
        resolution: Two Dice this close count as tied.
        resamples: The number of bootstrap draws.
        seed: The seed of the draws.

    Raises:
        ValueError: A column is missing, a row occurs twice, a Dice is not a fraction, or there are fewer than 2
            targets.

    Example:
        >>> from analysis.published import published_truth
        >>> openmind = audit(published_truth("openmind_resenc_l"), resamples=50)
        >>> round(openmind.static["weighted_kendall"], 2)
        0.4
    """
    every = _pools(table, sources)
    if len(every) < 2:
        raise ValueError(f"`table` must contain at least 2 targets, got {len(every)}")
    draws = draw(
        [name for pool in every for name in pool.sources], resamples=resamples, generator=np.random.default_rng(seed)
    )
    evaluations = _static(every, draws)
    mean = mean_evaluation(evaluations, scope=Scope.MEAN)
    return Audit(
        static={key: value for measure in PRIMARY for key, value in measured(mean, measure).items()},
        reason=mean.reason,
        dispersion=dispersion(every),
        resolution=resolution,
        by_target=_by_target(every, evaluations, resolution),
        by_source=_by_source(every),
    )


def _pools(table: pd.DataFrame, sources: Collection[str] | None) -> tuple[Pool, ...]:
    if missing := [name for name in TABLE_COLUMNS if name not in table.columns]:
        raise ValueError(f"`table` must have the columns {', '.join(TABLE_COLUMNS)}, missing {', '.join(missing)}")
    truth = table.assign(tune="as given")
    every = pools(truth if "seed" in truth else truth.assign(seed=0))
    return every if sources is None else tuple(pool.only(sources) for pool in every)


def _static(every: Sequence[Pool], draws: SourceDraws) -> list[Evaluation]:
    evaluations = []
    for pool in every:
        score = pd.Series(static_leaderboard(other for other in every if other is not pool), dtype=float)
        rows = score.rename("score").to_frame().assign(reason="", seconds=0.0)
        evaluations.append(evaluate(PreparedTruth(pool, draws), rows, metric=STATIC))
    return evaluations


def _by_target(every: Sequence[Pool], evaluations: Sequence[Evaluation], resolution: float) -> pd.DataFrame:
    values = np.array([item.agreement.value[WEIGHTED_KENDALL.name] for item in evaluations])
    others = (values.sum() - values) / (len(values) - 1)
    rows = []
    for pool, item, rest in zip(every, evaluations, others, strict=True):
        upper = np.triu_indices(len(pool.sources), 1)
        gaps = np.abs(pool.mean[:, None] - pool.mean[None, :])[upper]
        facts = {
            "target": pool.target,
            "sources": len(pool.sources),
            "spread": pool.spread,
            "tied": float((gaps <= resolution).mean()),
            "reason": item.reason,
        }
        rows.append(facts | dict(item.agreement.value) | {"weighted_kendall_others": float(rest)})
    return pd.DataFrame(rows)


def _by_source(every: Sequence[Pool]) -> pd.DataFrame:
    ranks = rank_table(every)
    without = []
    for source in ranks["source"]:
        left = [pool.only(set(pool.sources) - {source}) for pool in every]
        once = draw([name for pool in left for name in pool.sources], resamples=1, generator=np.random.default_rng(0))
        without.append(mean_evaluation(_static(left, once), scope=Scope.MEAN).agreement.value[WEIGHTED_KENDALL.name])
    return ranks.assign(weighted_kendall_without=without)


def _bounded(row: Row, key: str) -> str:
    return f"{number(row[key])} [{number(row[f'{key}_low'])}, {number(row[f'{key}_high'])}]"


DIGIT = partial(number, digits=1)
WHOLE = partial(number, digits=0)
POOL_COLUMNS = (
    Column("sources", "name"),
    Column("number", "sources"),
    *(Column(f"{LABELS[key]} [95%]", partial(_bounded, key=key)) for key in SHOWN),
    Column(
        "rank sd",
        "rank_sd",
        DIGIT,
        "rank sd: standard deviation of a source's rank over the targets, mean over sources.",
    ),
    Column("of random ranks", "rank_sd_random", DIGIT),
    Column("tied", "tied", percent),
)
TARGET_COLUMNS = (
    Column("target", "target"),
    Column("sources", "sources"),
    Column("spread", "spread"),
    Column("tied", "tied", percent),
    *(Column(LABELS[key], key) for key in SHOWN),
    Column(
        "mean without it",
        "weighted_kendall_others",
        note="mean without it: mean weighted Kendall over the other targets.",
    ),
)
SOURCE_COLUMNS = (
    Column("source", "source"),
    Column("targets", "targets"),
    Column("mean rank", "mean_rank", DIGIT),
    Column("rank sd", "rank_sd", DIGIT),
    Column("best", "best_rank", WHOLE),
    Column("worst", "worst_rank", WHOLE),
    Column("weighted Kendall without it", "weighted_kendall_without"),
)


def audit_tables(whole: Audit, parts: Mapping[str, Audit], *, name: str, measure: str) -> tuple[Table, ...]:
    """The three tables of an audit: the static leaderboard, then by target and by source.

    Args:
        whole: The audit of all sources.
        parts: Name -> the audit of a sub-pool.
        name: The name of the table of truth.
        measure: What its values are called.
    """
    audits = {"all": whole, **parts}
    notes = (
        f"tied: pairs within {100 * whole.resolution:g} {measure} points, mean over targets.",
        f"Agreement of the static leaderboard (mean centred {measure} on the other targets) with the {measure}, mean "
        "over targets, each left out in turn: what an estimate has to beat. Intervals: bootstrap over the sources. "
        "better half: by mean rank, so chosen by the outcome.",
        WEIGHTED_KENDALL_IS,
        *(f"{label}: {part.reason}" for label, part in audits.items() if part.reason),
    )
    title = f"Audit of {name}: the static leaderboard over {len(whole.by_target)} targets"
    by_target = [f"spread: best minus worst {measure}."]
    by_target += [f"{row['target']}: {row['reason']}" for row in whole.by_target.to_dict("records") if row["reason"]]
    return (
        table_of(title, POOL_COLUMNS, [[_pool_row(label, part) for label, part in audits.items()]], notes),
        table_of("Which targets carry the result", TARGET_COLUMNS, [whole.by_target], by_target),
        table_of("Which sources carry the result", SOURCE_COLUMNS, [whole.by_source]),
    )


def _pool_row(label: str, part: Audit) -> Row:
    spread = part.dispersion
    facts = {"rank_sd": spread.rank_sd, "rank_sd_random": spread.rank_sd_random, "tied": part.by_target["tied"].mean()}
    return {"name": label, "sources": len(part.by_source)} | facts | part.static


def run(cfg: DictConfig) -> None:
    """Audit the table and its sub-pools, compare the estimates with it, print the tables, and write the files.

    The files are audit.json and, in the folder `audit`, the report.
    """
    output = Path(cfg.output_dir)
    if cfg.example:
        show_example(write_example(output / EXAMPLE))
        return
    if cfg.published:
        write_published({name: outcome_of(cfg, read_table(name)).facts for name in POOLS}, output)
        return
    outcome = outcome_of(cfg, read_table(cfg.table, measure=cfg.measure, scale=cfg.scale))
    console = wide_console()
    for shown in outcome.tables:
        console.print(TerminalTable(shown))
    if outcome.compared:
        show_study(outcome.files)
    elif outcome.table.percent:
        values = f"The {measure_name(outcome.table.measure)} values of the table"
        console.print(f"{values} are in percent; they are shown as fractions.", highlight=False)
    if outcome.files.study is None:
        console.print(f"no report: {NO_TARGET}", highlight=False)
    else:
        evidence = evidence_of(outcome.files, name=outcome.table.name, settings=_settings(cfg))
        page = write_report(outcome.files.study, evidence, output=output / FOLDER)[0]
        console.print(f"report: {page.resolve().as_uri()}", highlight=False, soft_wrap=True)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / "audit.json", json.dumps(strict_json(outcome.facts), indent=2) + "\n")
    console.print(f"written: {output / 'audit.json'}", highlight=False)


@dataclass(frozen=True)
class Outcome:
    """What the command finds out about a table.

    Attributes:
        table: The truth.
        files: The study of the truth and the estimates.
        compared: Whether there are estimates, or there is a single target, so that the study is what is printed.
        tables: The tables of the audit; none for a single target.
        facts: The content of audit.json.
    """

    table: TruthTable
    files: FileStudy
    compared: bool
    tables: tuple[Table, ...]
    facts: dict[str, object]


def outcome_of(cfg: DictConfig, table: TruthTable) -> Outcome:
    """Audit a table and compare its estimates with it.

    Args:
        cfg: The command's config.
        table: The truth.

    Raises:
        InputError: A file or a sub-pool is not valid.
    """
    estimates = _estimates(cfg, table.name)
    sources = read_sources(str(cfg.sources)) if cfg.sources else None
    files = study_of_files(table, estimates, sources, resamples=cfg.resamples, seed=cfg.seed)
    facts: dict[str, object] = {"table": table.name}
    several = len(set(table.truth.dropna(subset=["dice"])["target"])) > 1
    if several:
        whole, parts = _audits(table, cfg)
        tables = audit_tables(whole, parts, name=table.name, measure=measure_name(table.measure))
        facts |= whole.facts() | {"sub_pools": {name: part.facts() for name, part in parts.items()}}
    else:
        if cfg.sub_pools:
            raise InputError(f"sub_pools needs a table of at least 2 targets, got 1 in {table.name}")
        tables = ()
        facts |= single_target_facts(table, resolution=cfg.resolution)
    return Outcome(table, files, estimates is not None or not several, tables, facts | study_facts(files))


def _estimates(cfg: DictConfig, name: str) -> EstimateTable | None:
    """The estimates given, or those that ship with the published table."""
    if cfg.estimates:
        return read_estimates(str(cfg.estimates))
    if name in POOLS and POOLS[name].estimates and not Path(name).is_file():
        return read_estimates(str(published_path(name, estimates=True)), name=f"{name}_estimates")
    return None


def _audits(table: TruthTable, cfg: DictConfig) -> tuple[Audit, dict[str, Audit]]:
    """The audit of all sources, and those of the sub-pools."""
    whole = _audited(table, None, cfg)
    # the sources with the better mean rank, between which a user would choose
    ranked = list(whole.by_source["source"])
    better_half = ranked[: max(FEWEST_SOURCES, (len(ranked) + 1) // 2)]
    sub_pools = {BETTER_HALF: better_half} | {str(name): list(names) for name, names in (cfg.sub_pools or {}).items()}
    return whole, {name: _audited(table, names, cfg, name) for name, names in sub_pools.items()}


def _settings(cfg: DictConfig) -> dict[str, object]:
    return {name: cfg[name] for name in ("table", "estimates", "sources", "measure", "scale", "resamples", "seed")}


def _audited(table: TruthTable, sources: Sequence[str] | None, cfg: DictConfig, name: str = "") -> Audit:
    unknown = sorted(set(sources or ()) - set(table.truth["source"]))
    if unknown:
        raise InputError(f"sub_pools.{name} must name sources of {table.name}, got {', '.join(unknown)}")
    return audit(
        table.truth.drop(columns="tune"),
        sources=sources,
        resolution=cfg.resolution,
        resamples=cfg.resamples,
        seed=cfg.seed,
    )


def _with_example(arguments: Sequence[str]) -> list[str]:
    return ["example=true" if argument == "--example" else argument for argument in arguments]


main = entry_point("audit", run, rewrite=_with_example)


if __name__ == "__main__":
    main()
