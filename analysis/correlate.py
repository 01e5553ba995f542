"""Scores against the truth: the agreement of every metric and control on every target, with all that qualifies it."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from analysis.controls import SCORE_COLUMNS
from analysis.corrections import corrected
from analysis.dispersion import dispersion, rank_table
from analysis.evaluate import Missing, gap_table
from analysis.external import external_frame, external_lines
from analysis.luck import with_cases
from analysis.measures import LARGE_POOL
from analysis.pools import Pool, main_tune, pools, without_weak
from analysis.publish import publish, summary_metrics
from analysis.render import study_tables, terminal
from analysis.report import PAGE, gather, restore_report, template_digest, write_report
from analysis.stability import COLUMNS as STABILITY
from analysis.stability import stability
from analysis.stored import stored_cases, stored_rows
from analysis.study import ALL, FINE_TUNING, WITHOUT_WEAK, Study
from analysis.subset import Rows, Settings, rows_of
from analysis.sweeps import shared
from analysis.truth_table import read_truth_table, rows_outside
from analysis.verdict import verdict
from benchmark.command import resolved, run_command
from benchmark.jobs import job_key
from benchmark.records import Data, Row, score_frame, source_frame, truth_frame
from benchmark.tracking import Store

SOURCE_COLUMNS = ("source", "task", "arch", "width", "length", "parameters", "source_dice", "source_cases")
TRUTH_COLUMNS = ("source", "target", "seed", "tune", "dice")
WIDTH = 140  # columns of a table that goes to a file or a pipe
RESAMPLES = 2000  # the ends of a 95% interval move by about 0.01 from seed to seed
MOST_OF_MANY = 1000  # resamples of a large pool, whose intervals are narrow: their ends move less than that


def correlate(
    truth: pd.DataFrame,
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    scans: Mapping[str, str] | None = None,
    missing: Missing = "nan",
    cases: pd.DataFrame | None = None,
    truth_from: str = FINE_TUNING,
) -> Study:
    """Compare the scores of every metric, and of every control, with the truth.

    Args:
        truth: Columns source, target, seed, tune, dice (a fraction): one row a fine-tuning.
        scores: Columns source, target, metric, score, reason, seconds: one row a score; NaN with its reason.
        sources: Columns source, task, arch, width, length (scratch, short or long), parameters, source_dice,
            source_cases: one row a source.
        resamples: How many bootstrap draws and permutations; at most 1,000 of more than 100 sources.
        seed: The seed of all draws.
        scans: Target -> the scan that its cases come from; with it a mean by scan stands beside the mean by target.
        missing: "nan": a metric without a score for a source of a pool has no agreement on that target;
            "leave_out": it is compared on the other sources. Both are said in the reason.
        cases: The Dice of each test case, see `analysis.luck.with_cases`; with it there are intervals over cases.
        truth_from: Where the truth comes from.

    Returns:
        The study.

    Raises:
        ValueError: A frame lacks a column or holds a row twice, a Dice is no fraction, a source is not described.
    """
    _check(scores, "scores", SCORE_COLUMNS, ["source", "target", "metric"])
    _check(sources, "sources", SOURCE_COLUMNS, ["source"])
    every = pools(truth) if cases is None else with_cases(pools(truth), cases)
    tune = main_tune(every)
    strong = without_weak(sources)
    names = frozenset(name for pool in every for name in pool.sources)
    drawn = min(resamples, MOST_OF_MANY) if len(names) > LARGE_POOL else resamples
    settings = Settings(scores, sources, tune, dict(scans or {}), missing, drawn)
    generators = np.random.default_rng(seed).spawn(3)
    found = [
        rows_of([pool.only(kept) for pool in every], subset=subset, settings=settings, generator=generator)
        for (subset, kept), generator in zip({ALL: names, WITHOUT_WEAK: strong}.items(), generators[:2], strict=True)
    ]
    sub_pools = stability([pool for pool in every if pool.tune == tune], scores, sources, generator=generators[2])
    return _study(every, found, settings, sub_pools, seed=seed, truth_from=truth_from)


def _study(
    every: Sequence[Pool],
    found: Sequence[Rows],
    settings: Settings,
    sub_pools: Sequence[Mapping[str, str | float]],
    *,
    seed: int,
    truth_from: str,
) -> Study:
    """The rows of all sub-pools as the frames of a study."""
    main = tuple(pool for pool in every if pool.tune == settings.tune)
    return Study(
        tune=settings.tune,
        pools=main,
        beside=tuple(pool for pool in every if pool.tune != settings.tune),
        scores=found[0].scores,
        sources=settings.sources,
        agreement=corrected(pd.DataFrame([row for rows in found for row in rows.agreement])),
        reliability=pd.DataFrame([row for rows in found for row in rows.reliability]),
        comparisons=pd.DataFrame([row for rows in found for row in rows.comparisons]),
        stability=pd.DataFrame([*sub_pools, *found[0].stability], columns=list(STABILITY)),
        ranks=rank_table(main),
        dispersion=dispersion(main),
        gaps=gap_table(main, found[0].scores),
        scans=settings.scans,
        resamples=settings.resamples,
        seed=seed,
        truth_from=truth_from,
    )


def _check(frame: pd.DataFrame, name: str, columns: Sequence[str], key: list[str]) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise ValueError(f"`{name}` must have the columns {', '.join(columns)}, lacks {', '.join(missing)}")
    twice = frame[frame.duplicated(key)]
    if len(twice):
        first = ", ".join(map(str, twice.iloc[0][key]))
        raise ValueError(f"`{name}` must hold each {', '.join(key)} once, got {first} again")


def run(cfg: DictConfig, keys: Mapping[str, Sequence[str]] | None = None) -> None:
    """Compare all that the store holds of the suite, log it, and print the tables.

    Args:
        cfg: The command's config.
        keys: Stage -> keys of the jobs that count; without it every finished job of the suite's sources and targets.

    Raises:
        InputError: The store holds no truth or no scores of the suite, or the table is bad.
    """
    store: Store = instantiate(cfg.tracking)
    table = read_truth_table(cfg.truth, cfg.table)
    stages = ("score", "pretrain") if table else ("truth", "score", "pretrain")
    rows = {stage: stored_rows(store, stage, cfg, keys) for stage in stages}
    truth = table.truth if table else truth_frame(rows["truth"])
    scans = {str(target): str(scan) for target, scan in cfg.suite.targets.items()}
    metrics = {str(name): instantiate(node) for name, node in cfg.metric.items()}
    settings = {"resamples": cfg.resamples, "seed": cfg.seed, "scans": scans}
    used = {stage: sorted(row.key for row in found) for stage, found in rows.items()}
    given = {"table": hashlib.sha256(truth.to_csv().encode()).hexdigest()} if table else {}
    key = job_key(
        "summary", "analysis.correlate", {"jobs": used, "settings": settings, "page": template_digest()} | given
    )
    sources = source_frame(rows["pretrain"])
    outside = rows_outside(truth, sources, cfg.suite) if table else ""
    held = truth["source"].isin(sources["source"]) & truth["target"].isin(list(cfg.suite.targets))
    study = correlate(
        truth.loc[held | (table is None), list(TRUTH_COLUMNS)],
        score_frame(rows["score"], metrics),
        sources,
        resamples=cfg.resamples,
        seed=cfg.seed,
        scans=scans,
        cases=table.cases if table else stored_cases(store, rows["truth"]),
        truth_from=table.name if table else FINE_TUNING,
    )
    output = Path(cfg.output_dir)
    beside = [line for line in ([outside] if table else external_lines(external_frame(truth))) if line]
    with store.claim(key) as finished:
        if finished is None:
            rows["prepare"] = _prepared(store, cfg.suite.tasks)
            config = resolved(cfg)
            files = write_report(study, gather(study, store, rows, settings=config, external=beside), output=output)
            publish(
                study,
                store,
                key=key,
                suite=cfg.suite.name,
                config=config,
                files=files,
                output=output,
                settings=shared([*rows.get("truth", []), *rows["score"]])
                | {f"correlate.{name}": str(cfg[name]) for name in ("resamples", "seed")},
                data=_data(rows["prepare"], [pool.target for pool in study.pools]),
            )
        else:
            restore_report(store, finished, output=output)
    show(study, beside, output, str(cfg.suite.name))


def show(study: Study, beside: Sequence[str], output: Path, suite: str) -> None:
    """Print the tables, the reliability first, the verdict last, and where everything is.

    Args:
        study: What `correlate` found.
        beside: Lines that stand below the tables.
        output: Where the report is, and tables and figures below it.
        suite: The suite's name.
    """
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    found = summary_metrics(study)
    console.print(
        f"\ntruth: split-half reliability {found['reliability']:.2f} "
        f"[{found['reliability_low']:.2f}, {found['reliability_high']:.2f}] (mean over targets of Kendall's tau), "
        f"ceiling of Kendall {found['ceiling']:.2f}; tuned: {study.tune}"
        f"{'' if study.truth_from == FINE_TUNING else f'; from {study.truth_from}'}\n",
        highlight=False,
    )
    for table in study_tables(study):
        console.print(terminal(table))
    for line in (*beside, verdict(study).text):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"tables and figures: {output / 'study' / suite}", highlight=False, soft_wrap=True)
    console.print(f"report: {(output / PAGE).resolve().as_uri()}", highlight=False, soft_wrap=True)


def _prepared(store: Store, tasks: Collection[str]) -> list[Row]:
    """The newest run of each task's preparation."""
    rows = {row.params["task"]: row for row in store.finished("prepare").values()}
    return [rows[name] for name in tasks if name in rows]


def _data(rows: Sequence[Row], targets: Collection[str]) -> dict[str, Data]:
    """What the store knows of the targets' data."""
    return {
        row.params["task"]: Data(
            row.params["task"], row.tags["data_digest"], row.tags.get("folder", row.name), "target"
        )
        for row in rows
        if row.params["task"] in targets
    }


def main() -> None:
    """Entry point."""
    run_command("correlate", run)


if __name__ == "__main__":
    main()
