"""Rank your own checkpoints for your own data; `python -m benchmark.rank task=FOLDER source=FOLDER_OF_CHECKPOINTS`."""

import sys
import time
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import resolved, run_command
from benchmark.ranking.inputs import as_values, source_nodes, task_node

if TYPE_CHECKING:
    from analysis.ranking.order import Ranking, Scores
    from analysis.ranking.tables import Account
    from benchmark.metric.protocol import Metric
    from benchmark.ranking.estimates import SourceOutcome
    from benchmark.ranking.ranker import Ranker
    from benchmark.ranking.terminal import Screen
    from benchmark.sources.readers.recognise import FoundSources

UNPRINTABLE = "backslashreplace"  # what becomes of the bytes of a file's name that are no UTF-8


def run(cfg: DictConfig) -> None:
    """Score every source, order them, print and write the ranking."""
    from analysis.ranking.order import rank_sources
    from analysis.ranking.tables import ranking_tables
    from analysis.tables.terminal import TerminalTable
    from benchmark.data.prepared.store import active_store
    from benchmark.ranking.terminal import Screen

    start = time.monotonic()
    places = [f"{name}={cfg[name]}" for name in ("data_dir", "output_dir")]
    node = task_node(cfg.given.task, overrides=places)
    given = source_nodes(cfg.given.source, trust=cfg.trust, overrides=places)
    ranker = make_ranker(cfg, node)
    screen = Screen(len(given.nodes) * len(ranker.names))
    outcomes = _outcomes(ranker, given, screen)
    scored = [outcome for outcome in outcomes if outcome.estimates]
    if not scored:
        reasons = [f"{outcome.name}: {outcome.skipped}" for outcome in outcomes]
        raise InputError(f"none of the sources could be scored: {'; '.join(reasons)}")
    ranking = rank_sources(pool_scores(scored, ranker), by=cfg.by)
    account = _account(cfg, ranker, outcomes, given)
    for table in ranking_tables(ranking, account):
        screen.console.print(TerminalTable(table))
    _write(cfg, ranker, ranking, account, screen)
    if (prepared := active_store()) is not None:
        screen.say(prepared.summary())
    screen.say(f"it took {time.monotonic() - start:.0f} s")


def make_ranker(cfg: DictConfig, node: DictConfig) -> "Ranker":
    """What all sources of the pool share, from the command's config and the task's.

    Raises:
        InputError: A case cannot be read, or a metric needs more than a pass over the target.
    """
    from benchmark.data.tasks.checking import check_cases
    from benchmark.ranking.case_bootstrap import resample_cases
    from benchmark.ranking.case_passes import StreamSettings
    from benchmark.ranking.ranker import Ranker, RankOptions, cache_folder
    from benchmark.ranking.source_errors import own_files

    metrics = _metrics(cfg)
    target = instantiate(node)
    with own_files(checked := cache_folder(Path(cfg.output_dir)) / "checked"):
        check_cases(target, cfg.split, folder=checked)
    target.first_case(cfg.split)  # a plan that does not suit is reported before any source is opened
    cases = target.case_digests(cfg.split)
    settings = {part: resolved(cfg[part]) for part in ("stream", "preparation", "metric")} | {"task": resolved(node)}
    stream = settings["stream"] | {"window": tuple(cfg.stream.window)}
    return Ranker(
        target=target,
        cases=cases,
        metrics=metrics,
        resamples=resample_cases(len(cases), draws=cfg.draws, generator=np.random.default_rng(cfg.seed)),
        store=instantiate(cfg.tracking),
        options=RankOptions(
            settings=settings | {"amp": cfg.device.amp},
            stream=StreamSettings(**stream, device=cfg.device.name, amp=cfg.device.amp),
            split=cfg.split,
            point_draws=cfg.draws_of_points,
            output=Path(cfg.output_dir),
            keep_gib=cfg.passes.keep_gib,
        ),
    )


def _metrics(cfg: DictConfig) -> "dict[str, Metric]":
    metrics = {name: instantiate(node) for name, node in cfg.metric.items()}
    for name, metric in metrics.items():
        if needs := getattr(metric, "needs", ()):
            raise InputError(f"metric must need only the pass over the target, got {name}, which also needs {needs[0]}")
    if cfg.by not in (*metrics, "standing"):
        raise InputError(f"by must be standing or one of {', '.join(metrics)}, got {cfg.by}")
    return metrics


def _outcomes(ranker: "Ranker", given: "FoundSources", screen: "Screen") -> "list[SourceOutcome]":
    outcomes = []
    with screen.bar:
        for place, (given_name, node) in enumerate(given.nodes.items(), 1):
            name = given_name.encode(errors=UNPRINTABLE).decode()
            screen.begin(name)
            outcome = ranker.outcome(name, OmegaConf.create(node), screen.step)
            reason = outcome.facts.get("step_reason")
            scored = f"scored; the cost of fine-tuning is not known: {reason}" if reason else "scored"
            message = f"skipped: {outcome.skipped}" if outcome.skipped else scored
            screen.end(name, message, done=place * len(ranker.names))
            outcomes.append(outcome)
    return outcomes


def pool_scores(outcomes: "Sequence[SourceOutcome]", ranker: "Ranker") -> "Scores":
    """The scores of a pool, those that are normalised over it combined."""
    from analysis.ranking.order import Scores
    from benchmark.ranking.estimates import combined

    names = [outcome.name for outcome in outcomes]
    metrics, draws = {}, {}
    for metric_name, metric in ranker.metrics.items():
        final = combined(metric, {outcome.name: outcome.estimates[metric_name] for outcome in outcomes})
        metrics[metric_name] = np.array([final[name].value for name in names])
        empty = [np.nan] * max(len(estimate.draws) for estimate in final.values())
        draws[metric_name] = np.array([final[name].draws or empty for name in names], dtype=float).T
    return Scores(names, metrics, draws, ranker.resamples.kind, ranker.resamples.counts.shape[1])


def _account(
    cfg: DictConfig, ranker: "Ranker", outcomes: "Sequence[SourceOutcome]", given: "FoundSources"
) -> "Account":
    from analysis.ranking.tables import Account
    from benchmark.ranking.cost import FineTuningWork, cost_frame, machine
    from benchmark.ranking.default_metrics import choice_of_metrics

    work = FineTuningWork.of(instantiate(cfg.trainer), seeds=cfg.fine_tuning_seeds)
    scored = [outcome for outcome in outcomes if outcome.estimates]
    remarks = {(outcome.name, name): own.remark for outcome in scored for name, own in outcome.estimates.items()}
    return Account(
        task=ranker.target.name,
        costs=cost_frame(scored, work),
        reasons={pair: remark for pair, remark in remarks.items() if remark},
        notes={outcome.name: list(outcome.notes) for outcome in scored if outcome.notes},
        skipped={outcome.name: outcome.skipped for outcome in outcomes if outcome.skipped} | given.left,
        where=machine(cfg.device.name),
        fine_tuning=work.describe(),
        resampling=ranker.resamples.describe(cfg.draws_of_points),
        other_files=given.other_files,
        search=given.notes,
        metric_choice=choice_of_metrics(ranker.metrics),
    )


def _write(cfg: DictConfig, ranker: "Ranker", ranking: "Ranking", account: "Account", screen: "Screen") -> None:
    from analysis.ranking.page import ranking_page
    from analysis.ranking.tables import ranking_csv, ranking_json
    from benchmark.data.slices import png, three_slices
    from benchmark.jobs.provenance import provenance
    from benchmark.storage.files import write_bytes

    case = ranker.target.first_case(cfg.split)
    origin = provenance()
    facts = {"provenance": origin.tags | origin.details, "settings": ranker.options.settings, "seed": cfg.seed}
    contents = {
        "ranking.html": ranking_page(
            ranking, account, case=png(three_slices(case.image[0], case.labels)), case_name=case.name
        ),
        "ranking.csv": ranking_csv(ranking, account),
        "ranking.json": ranking_json(ranking, account, facts),
    }
    ranker.folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_bytes(ranker.folder / name, content.encode(errors=UNPRINTABLE))
    screen.say(f"{', '.join(contents)} in {ranker.folder}")


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    sys.argv[1:] = as_values(sys.argv[1:])
    run_command("rank", run)


if __name__ == "__main__":
    main()
