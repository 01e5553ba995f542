"""Rank your own checkpoints for your own data; `python -m benchmark.rank task=FOLDER source=FOLDER_OF_CHECKPOINTS`."""

import sys
import time
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.errors import InputError
from benchmark.jobs.cli import resolved, run_command
from benchmark.ranking.inputs import GivenSources, as_values, source_nodes, task_node

if TYPE_CHECKING:
    from analysis.ranking.order import Ranking, Scores
    from analysis.ranking.tables import Account
    from benchmark.metric.protocol import Metric
    from benchmark.ranking.estimates import SourceOutcome
    from benchmark.ranking.ranker import Ranker
    from benchmark.ranking.terminal import Screen

UNPRINTABLE = "backslashreplace"  # what becomes of the bytes of a file's name that are no UTF-8


def run(cfg: DictConfig) -> None:
    """Score every source, order them, print and write the ranking."""
    from analysis.ranking.order import rank_sources
    from analysis.ranking.tables import ranking_tables
    from analysis.tables.render import terminal
    from benchmark.ranking.terminal import Screen

    start = time.monotonic()
    places = [f"{name}={cfg[name]}" for name in ("data_dir", "output_dir")]
    node = task_node(cfg.given.task, overrides=places)
    given = source_nodes(cfg.given.source, trust=cfg.trust, overrides=places)
    ranker = make_ranker(cfg, node)
    screen = Screen()
    outcomes = _outcomes(ranker, given, screen)
    scored = [outcome for outcome in outcomes if outcome.estimates]
    if not scored:
        reasons = [f"{outcome.name}: {outcome.skipped}" for outcome in outcomes]
        raise InputError(f"none of the sources could be scored: {'; '.join(reasons)}")
    ranking = rank_sources(pool_scores(scored, ranker), by=cfg.by)
    account = _account(cfg, ranker, outcomes, given)
    for table in ranking_tables(ranking, account):
        screen.console.print(terminal(table))
    _write(cfg, ranker, ranking, account, screen)
    screen.say(f"it took {time.monotonic() - start:.0f} s")


def make_ranker(cfg: DictConfig, node: DictConfig) -> "Ranker":
    """What all sources of the pool share.

    Args:
        cfg: The command's config.
        node: The task's.

    Raises:
        InputError: The task's data cannot be read, or a metric needs more than a pass over the target.
    """
    from benchmark.ranking.case_bootstrap import resample_cases
    from benchmark.ranking.case_passes import StreamSettings
    from benchmark.ranking.opening import Opener
    from benchmark.ranking.ranker import Ranker
    from benchmark.ranking.source_errors import SourceLogs

    metrics = _metrics(cfg)
    target = instantiate(node)
    target.cases(cfg.split)[0]  # faulty data are reported before any source is opened
    settings = {part: resolved(cfg[part]) for part in ("stream", "preparation", "metric")} | {"task": resolved(node)}
    stream = settings["stream"]
    opener = Opener(instantiate(cfg.tracking), Path(cfg.output_dir))
    return Ranker(
        target,
        target.digest(),
        cfg.split,
        settings | {"amp": cfg.device.amp},
        StreamSettings(tuple(stream["window"]), stream["overlap"], stream["batch"], cfg.device.name, cfg.device.amp),
        metrics,
        resample_cases(len(target.names(cfg.split)), draws=cfg.draws, generator=np.random.default_rng(cfg.seed)),
        cfg.draws_of_points,
        Path(cfg.output_dir).absolute()
        / "rank"
        / "cache",  # written while a source's code runs, which may change folder
        opener.key,
        opener.open,
        SourceLogs(_folder(cfg, target.name) / "logs"),
    )


def _metrics(cfg: DictConfig) -> "dict[str, Metric]":
    metrics = {name: instantiate(node) for name, node in cfg.metric.items()}
    for name, metric in metrics.items():
        if needs := getattr(metric, "needs", ()):
            raise InputError(f"metric must need one pass over the target alone, got {name}, which needs {needs[0]} too")
    if cfg.by not in (*metrics, "standing"):
        raise InputError(f"by must be standing or one of {', '.join(metrics)}, got {cfg.by}")
    return metrics


def _outcomes(ranker: "Ranker", given: GivenSources, screen: "Screen") -> "list[SourceOutcome]":
    """One source after another."""
    cases = len(ranker.target.names(ranker.split))
    found = []
    with screen.progress(len(given.nodes) * cases) as steps:
        for place, (given_name, node) in enumerate(given.nodes.items(), 1):
            name = given_name.encode(errors=UNPRINTABLE).decode()
            steps.begin(name)
            found.append(ranker.outcome(name, node, steps.step))
            steps.end(name, _told(found[-1]), done=place * cases)
    return found


def _told(outcome: "SourceOutcome") -> str:
    if outcome.skipped:
        return f"skipped: {outcome.skipped}"
    reason = outcome.facts.get("step_reason")
    return f"scored; the cost of fine-tuning is not known: {reason}" if reason else "scored"


def pool_scores(outcomes: "Sequence[SourceOutcome]", ranker: "Ranker") -> "Scores":
    """The scores of a pool, those that are normalised over it combined."""
    from analysis.ranking.order import Scores
    from benchmark.ranking.estimates import combined

    metrics, draws = {}, {}
    for name, metric in ranker.metrics.items():
        final = combined(metric, {outcome.name: outcome.estimates[name] for outcome in outcomes})
        metrics[name] = np.array([final[outcome.name].value for outcome in outcomes])
        number = max(len(estimate.draws) for estimate in final.values())
        empty = [np.nan] * number
        draws[name] = np.array([final[outcome.name].draws or empty for outcome in outcomes], dtype=float).T
    names = [outcome.name for outcome in outcomes]
    return Scores(names, metrics, draws, ranker.resamples.kind, ranker.resamples.counts.shape[1])


def _account(cfg: DictConfig, ranker: "Ranker", outcomes: "Sequence[SourceOutcome]", given: GivenSources) -> "Account":
    from analysis.ranking.tables import Account
    from benchmark.ranking.summary import account_of

    trainer = instantiate(cfg.trainer)
    account = account_of(ranker, outcomes, given.left, trainer=trainer, seeds=cfg.fine_tuning_seeds)
    return Account(**account, other_files=given.other_files, search=given.notes)


def _write(cfg: DictConfig, ranker: "Ranker", ranking: "Ranking", account: "Account", screen: "Screen") -> None:
    from analysis.ranking.page import ranking_page
    from analysis.ranking.tables import ranking_csv, ranking_json
    from benchmark.data.slices import png, three_slices
    from benchmark.jobs.provenance import provenance
    from benchmark.storage.files import write_bytes

    case = ranker.target.cases(ranker.split)[0]
    found = provenance()
    facts = {"provenance": found.tags | found.details, "settings": ranker.settings, "seed": cfg.seed}
    picture = png(three_slices(case.image[0], case.labels))
    contents = {
        "ranking.html": ranking_page(ranking, account, case=picture, case_name=case.name),
        "ranking.csv": ranking_csv(ranking, account),
        "ranking.json": ranking_json(ranking, account, facts),
    }
    folder = _folder(cfg, ranker.target.name)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_bytes(folder / name, content.encode(errors=UNPRINTABLE))
    screen.say(f"{', '.join(contents)} in {folder}")


def _folder(cfg: DictConfig, task: str) -> Path:
    """Where the ranking of a task is written."""
    return Path(cfg.output_dir) / "rank" / quote(task, safe="")


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    sys.argv[1:] = as_values(sys.argv[1:])
    run_command("rank", run)


if __name__ == "__main__":
    main()
