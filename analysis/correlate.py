"""Scores against the truth: the agreement of every metric and control on every target, with all that qualifies it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from analysis.controls import SCORE_COLUMNS
from analysis.evaluate import Missing
from analysis.external import external_frame, external_lines
from analysis.pools import main_tune, pools, without_weak
from analysis.publish import publish, summary_metrics
from analysis.render import study_tables, terminal
from analysis.study import ALL, WITHOUT_WEAK, Study
from analysis.subset import Settings, rows_of
from analysis.sweeps import shared
from benchmark.command import resolved, run_command
from benchmark.errors import InputError
from benchmark.jobs import job_key
from benchmark.records import Data, Row, newest, score_frame, source_frame, truth_frame
from benchmark.tracking import Store

SOURCE_COLUMNS = ("source", "task", "arch", "width", "length", "parameters", "source_dice", "source_cases")
TRUTH_COLUMNS = ("source", "target", "seed", "tune", "dice")
WIDTH = 140  # columns of a table that goes to a file or a pipe
RESAMPLES = 2000  # the ends of a 95% interval move by about 0.01 from seed to seed


def correlate(
    truth: pd.DataFrame,
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    scans: Mapping[str, str] | None = None,
    missing: Missing = "nan",
) -> Study:
    """Compare the scores of every metric, and of every control, with the truth.

    Args:
        truth: Columns source, target, seed, tune, dice (a fraction): one row a fine-tuning.
        scores: Columns source, target, metric, score, reason, seconds: one row a score; NaN with its reason.
        sources: Columns source, task, arch, width, length (scratch, short or long), parameters, source_dice,
            source_cases: one row a source.
        resamples: How many bootstrap draws and permutations.
        seed: The seed of all draws.
        scans: Target -> the scan that its cases come from; with it a mean by scan stands beside the mean by target.
        missing: "nan": a metric without a score for a source of a pool has no agreement on that target;
            "leave_out": it is compared on the other sources. Both are said in the reason.

    Returns:
        The study.

    Raises:
        ValueError: A frame lacks a column or holds a row twice, a Dice is no fraction, a source is not described.
    """
    _check(scores, "scores", SCORE_COLUMNS, ["source", "target", "metric"])
    _check(sources, "sources", SOURCE_COLUMNS, ["source"])
    every = pools(truth)
    tune = main_tune(every)
    strong = without_weak(sources)
    names = frozenset(name for pool in every for name in pool.sources)
    settings = Settings(scores, sources, tune, dict(scans or {}), missing, resamples)
    generators = np.random.default_rng(seed).spawn(2)
    found = [
        rows_of([pool.only(kept) for pool in every], subset=subset, settings=settings, generator=generator)
        for (subset, kept), generator in zip({ALL: names, WITHOUT_WEAK: strong}.items(), generators, strict=True)
    ]
    return Study(
        tune=tune,
        pools=tuple(pool for pool in every if pool.tune == tune),
        beside=tuple(pool for pool in every if pool.tune != tune),
        scores=found[0].scores,
        sources=sources,
        agreement=pd.DataFrame([row for rows in found for row in rows.agreement]),
        reliability=pd.DataFrame([row for rows in found for row in rows.reliability]),
        scans=settings.scans,
        resamples=resamples,
        seed=seed,
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
        InputError: The store holds no truth or no scores of the suite.
    """
    store: Store = instantiate(cfg.tracking)
    rows = {stage: _rows(store, stage, cfg, keys) for stage in ("truth", "score", "pretrain")}
    scans = {str(target): str(scan) for target, scan in cfg.suite.targets.items()}
    metrics = {str(name): instantiate(node) for name, node in cfg.metric.items()}
    settings = {"resamples": cfg.resamples, "seed": cfg.seed, "scans": scans}
    used = {stage: sorted(row.key for row in found) for stage, found in rows.items()}
    key = job_key("summary", "analysis.correlate", {"jobs": used, "settings": settings})
    truth = truth_frame(rows["truth"])
    study = correlate(
        truth[list(TRUTH_COLUMNS)],
        score_frame(rows["score"], metrics),
        source_frame(rows["pretrain"]),
        resamples=cfg.resamples,
        seed=cfg.seed,
        scans=scans,
    )
    folder = Path(cfg.output_dir) / "study" / str(cfg.suite.name)
    if store.find(key) is None:
        publish(
            study,
            store,
            key=key,
            suite=cfg.suite.name,
            config=resolved(cfg),
            folder=folder,
            settings=shared([*rows["truth"], *rows["score"]])
            | {f"correlate.{name}": str(cfg[name]) for name in ("resamples", "seed")},
            data=_data(store, [pool.target for pool in study.pools]),
        )
    show(study, external_frame(truth), folder)


def show(study: Study, external: pd.DataFrame, folder: Path) -> None:
    """Print the tables, the reliability's verdict first, and where everything is."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    found = summary_metrics(study)
    console.print(
        f"\ntruth: split-half reliability {found['reliability']:.2f} "
        f"[{found['reliability_low']:.2f}, {found['reliability_high']:.2f}] (mean over targets of Kendall's tau), "
        f"ceiling of Kendall {found['ceiling']:.2f}; tuned: {study.tune}\n",
        highlight=False,
    )
    for table in study_tables(study):
        console.print(terminal(table))
    for line in external_lines(external):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"tables and figures: {folder}", highlight=False)


def _data(store: Store, targets: Sequence[str]) -> dict[str, Data]:
    """What the store knows of the targets' data."""
    rows = {row.params["task"]: row for row in store.finished("prepare").values()}
    return {
        name: Data(name, rows[name].tags["data_digest"], rows[name].tags.get("folder", name), "target")
        for name in targets
        if name in rows
    }


def _rows(store: Store, stage: str, cfg: DictConfig, keys: Mapping[str, Sequence[str]] | None) -> list[Row]:
    found = store.finished(stage)
    if keys is not None:
        return [found[key] for key in keys[stage] if key in found]
    wanted = {
        "source": set(cfg.suite.sources),
        "target": set(cfg.suite.targets),
        "seed": set(map(str, cfg.suite.seeds)),
    }
    if stage == "pretrain":
        wanted = {"source": wanted["source"]}
    rows = newest(
        row
        for row in found.values()
        if all(row.params[name] in allowed for name, allowed in wanted.items() if name in row.params)
    )
    if not rows:
        raise InputError(
            f"tracking.uri: {store.uri} must hold finished {stage} jobs of suite {cfg.suite.name}, got none"
        )
    return rows


def main() -> None:
    """Entry point."""
    run_command("correlate", run)


if __name__ == "__main__":
    main()
