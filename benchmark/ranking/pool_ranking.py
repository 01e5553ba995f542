"""Rank the checkpoints of a pool for a task, as `benchmark.rank` and, for its candidates, `benchmark.race` do."""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.errors import InputError, is_number
from benchmark.jobs.cli import resolved

if TYPE_CHECKING:
    from analysis.ranking.order import Ranking, Scores
    from analysis.ranking.settled import Settled
    from analysis.ranking.tables import Account
    from benchmark.metric.protocol import Metric
    from benchmark.ranking.case_bootstrap import CaseResamples
    from benchmark.ranking.case_choice import CaseChoice
    from benchmark.ranking.estimates import SourceOutcome
    from benchmark.ranking.forecast import Forecast
    from benchmark.ranking.ranker import Ranker
    from benchmark.ranking.terminal import Screen
    from benchmark.sources.readers.recognise import FoundSources

UNPRINTABLE = "backslashreplace"  # what becomes of the bytes of a file's name that are no UTF-8


def rank_pool(
    cfg: DictConfig,
    node: DictConfig,
    given: "FoundSources",
    *,
    timed: Callable[..., "Forecast"],
    arguments: Sequence[str],
    start: float,
) -> None:
    """Score every source, order them, print and write the ranking.

    Args:
        cfg: The config of `benchmark.rank`.
        node: The config of the task.
        given: The sources.
        timed: Times the sources and expects what they cost: `benchmark.ranking.source_timing.forecast_of`.
        arguments: The overrides that `cfg` is composed with, which the command of the ranking repeats.
        start: When the command began, by the monotonic clock.

    Raises:
        InputError: A setting breaks its rule, a case cannot be read, or no source can be scored.
    """
    from analysis.ranking.order import rank_sources
    from analysis.ranking.settled import settled
    from analysis.ranking.tables import ranking_tables
    from analysis.tables.terminal import TerminalTable
    from benchmark.data.prepared.store import active_store
    from benchmark.ranking.terminal import Screen

    minutes = _minutes(cfg)
    screen = Screen()
    deadline = start + 60 * minutes if minutes else None
    ranker = make_ranker(cfg, node)
    with screen.progress(len(given.nodes)):
        forecast = timed(
            ranker, given.nodes, draws=cfg.draws, report=screen.begin_timing, all_or_none=deadline is not None
        )
    plan = _plan(cfg, ranker, forecast, given, screen, deadline=deadline, arguments=arguments)
    ranker = plan.ranker
    outcomes = _outcomes(ranker, given, screen)
    scored = [outcome for outcome in outcomes if outcome.estimates]
    if not scored:
        reasons = [f"{outcome.name}: {outcome.skipped}" for outcome in outcomes]
        raise InputError(f"none of the sources could be scored: {'; '.join(reasons)}")
    ranking = rank_sources(pool_scores(scored, ranker), by=cfg.by)
    account = _account(cfg, plan, outcomes, given, settled(ranking.scores, by=cfg.by))
    for table in ranking_tables(ranking, account):
        screen.console.print(TerminalTable(table))
    _write(cfg, plan, ranking, account, screen)
    if (prepared := active_store()) is not None:
        screen.say(prepared.summary())
    screen.say(f"it took {time.monotonic() - start:.0f} s")


def make_ranker(cfg: DictConfig, node: DictConfig) -> "Ranker":
    """What all sources of the pool share, from the command's config and the task's.

    Raises:
        InputError: A case cannot be read, or a metric needs more than a pass over the target.
    """
    from benchmark.data.tasks.checking import check_cases
    from benchmark.ranking.case_choice import CaseChoice
    from benchmark.ranking.case_passes import StreamSettings
    from benchmark.ranking.ranker import Ranker, RankOptions, cache_folder
    from benchmark.ranking.source_errors import own_files

    metrics = _metrics(cfg)
    target = instantiate(node)
    with own_files(checked := cache_folder(Path(cfg.output_dir)) / "checked"):
        known = check_cases(target, cfg.split, folder=checked)
    settings = {part: resolved(cfg[part]) for part in ("stream", "preparation", "metric")} | {"task": resolved(node)}
    choice = CaseChoice.of(known, windows=cfg.stream.windows, number=settings["stream"].pop("cases"))
    stream = settings["stream"] | {"window": tuple(cfg.stream.window)}
    ranker = Ranker(
        target=target,
        choice=choice,
        digests=target.case_digests(cfg.split),
        checked=known,
        metrics=metrics,
        resamples=_resamples(cfg, choice),
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
    ranker.chosen_cases().prepare([0], required=False).reader(0)  # a plan that does not suit is reported first
    return ranker


def _resamples(cfg: DictConfig, choice: "CaseChoice") -> "CaseResamples":
    from benchmark.ranking.case_bootstrap import resample_cases

    return resample_cases(len(choice.chosen), draws=cfg.draws, generator=np.random.default_rng(cfg.seed))


def _minutes(cfg: DictConfig) -> float | None:
    minutes: object = cfg.minutes
    if minutes is None:
        return None
    if not is_number(minutes) or minutes <= 0:
        raise InputError(f"minutes must be a positive number or null, got {minutes}")
    return minutes


@dataclass(frozen=True)
class RankPlan:
    """What is scored, and what it is expected to cost.

    Attributes:
        ranker: With the cases and windows that are scored.
        forecast: The expected cost of each source.
        command: The command line that gives the same ranking again, without `minutes`.
        start: When scoring began, by the monotonic clock.
        sources: Source -> its config, also of those that are skipped.
    """

    ranker: "Ranker"
    forecast: "Forecast"
    command: str
    start: float
    sources: "Mapping[str, dict[str, object]]"


def _plan(
    cfg: DictConfig,
    ranker: "Ranker",
    forecast: "Forecast",
    given: "FoundSources",
    screen: "Screen",
    *,
    deadline: float | None,
    arguments: Sequence[str],
) -> RankPlan:
    """Choose what can be done by the deadline, and say what it will take."""
    from benchmark.ranking.forecast import fitting_choice

    start = time.monotonic()
    if deadline is not None:
        choice = fitting_choice(forecast, ranker.choice, seconds=deadline - start)
        ranker = ranker.with_choice(choice, _resamples(cfg, choice))
    command = repeating(arguments, ranker.choice)
    for line in forecast_lines(forecast, ranker.choice, device=ranker.options.stream.device):
        screen.say(line)
    if deadline is not None:
        if forecast.seconds(ranker.choice) > max(deadline - start, 0.0):
            screen.say(f"minutes={cfg.minutes:g} is too short: the smallest choice is scored, which takes longer")
        screen.say(
            f"minutes={cfg.minutes:g} gives {ranker.choice.settings}; the same ranking on any machine: {command}"
        )
    sources = {printable(name): node for name, node in given.nodes.items()}
    return RankPlan(ranker, forecast, command, start, sources)


def forecast_lines(forecast: "Forecast", choice: "CaseChoice", *, device: str) -> list[str]:
    """What is expected, as it is printed before the first source is scored."""
    from analysis.tables.number_format import counted, duration, memory_size

    lines = [f"{name} could not be timed and is not counted: {why}" for name, why in forecast.untimed.items()]
    kept = f"; the scores of {counted(forecast.kept, 'source')} are kept and cost nothing" if forecast.kept else ""
    if not forecast.sources:
        return [*lines, *([kept.removeprefix("; ")] if kept else [])]
    windows = "all windows" if choice.windows == "all" else "windows with foreground"
    lines.append(
        f"expected: {duration(forecast.seconds(choice))} for {counted(len(forecast.sources), 'source')}, "
        f"{counted(len(choice.chosen), 'case')} and {windows}{kept}"
    )
    memory = f"{memory_size(forecast.memory_mb * 2**20)} of {'GPU memory' if device.startswith('cuda') else 'memory'}"
    disk = [
        f"{memory_size(size)} for {what}"
        for size, what in (
            (forecast.prepared_bytes(choice), "prepared cases, before compression"),
            (forecast.kept_bytes(choice), "the softmax of voxels"),
        )
        if size
    ]
    lines.append(f"expected: {memory} for the forward passes; disk: {', '.join(disk) or 'little'}")
    return lines


def repeating(arguments: "Sequence[str]", choice: "CaseChoice") -> str:
    """The command line that scores the same cases and windows, from the arguments of this one.

    Example:
        >>> from benchmark.ranking.case_choice import CaseChoice
        >>> print(repeating(['given.task="/a b"', "minutes=5"], CaseChoice("foreground", ("x", "y"))))
        python -m benchmark.rank 'task="/a b"' stream.windows=foreground stream.cases=2
    """
    replaced = ("minutes=", "stream.windows=", "stream.cases=")
    left = [argument.removeprefix("given.") for argument in arguments if not argument.lstrip("+").startswith(replaced)]
    return f"python -m benchmark.rank {shlex.join(left)} {choice.settings}"


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
    with screen.progress(len(given.nodes) * len(ranker.choice.chosen)):
        for place, (given_name, node) in enumerate(given.nodes.items(), 1):
            name = printable(given_name)
            screen.begin(name)
            outcome = ranker.outcome(name, OmegaConf.create(node), screen.step)
            reason = outcome.facts.get("step_reason")
            scored = f"scored; the cost of fine-tuning is not known: {reason}" if reason else "scored"
            message = f"skipped: {outcome.skipped}" if outcome.skipped else scored
            screen.end(name, message, done=place * len(ranker.choice.chosen))
            outcomes.append(outcome)
    return outcomes


def pool_scores(outcomes: "Sequence[SourceOutcome]", ranker: "Ranker") -> "Scores":
    """The scores of a pool, those that are normalised over it combined."""
    from analysis.ranking.order import Scores
    from benchmark.ranking.estimates import combined

    names = [outcome.name for outcome in outcomes]
    metrics, draws, halves = {}, {}, {}
    first = len(ranker.halves)
    for metric_name, metric in ranker.metrics.items():
        final = combined(metric, {outcome.name: outcome.estimates[metric_name] for outcome in outcomes})
        metrics[metric_name] = np.array([final[name].value for name in names])
        empty = [np.nan] * max(len(estimate.draws) for estimate in final.values())
        drawn = np.array([final[name].draws or empty for name in names], dtype=float).T
        draws[metric_name], halves[metric_name] = drawn[first:], drawn[:first]
    return Scores(names, metrics, draws, ranker.resamples.kind, ranker.resamples.counts.shape[1], halves)


def _account(
    cfg: DictConfig,
    plan: RankPlan,
    outcomes: "Sequence[SourceOutcome]",
    given: "FoundSources",
    settled: "Settled",
) -> "Account":
    from analysis.ranking.tables import Account
    from benchmark.ranking.cost import FineTuningWork, cost_frame, machine
    from benchmark.ranking.default_metrics import choice_of_metrics

    ranker = plan.ranker
    work = FineTuningWork.of(instantiate(cfg.trainer), seeds=cfg.fine_tuning_seeds)
    scored = [outcome for outcome in outcomes if outcome.estimates]
    remarks = {(outcome.name, name): own.remark for outcome in scored for name, own in outcome.estimates.items()}
    return Account(
        task=ranker.target.name,
        costs=cost_frame(scored, work),
        reasons={pair: remark for pair, remark in remarks.items() if remark},
        notes={outcome.name: notes for outcome in scored if (notes := [*outcome.notes, *_windows_note(outcome)])},
        skipped={outcome.name: outcome.skipped for outcome in outcomes if outcome.skipped} | given.left,
        where=machine(cfg.device.name),
        fine_tuning=work.describe(),
        resampling=ranker.resamples.describe(cfg.draws_of_points),
        other_files=given.other_files,
        search=given.notes,
        metric_choice=choice_of_metrics(ranker.metrics),
        coverage=_coverage(cfg, plan),
        settled=settled,
    )


def printable(name: str) -> str:
    """A name as it is written to files, which are UTF-8."""
    return name.encode(errors=UNPRINTABLE).decode()


def _windows_note(outcome: "SourceOutcome") -> list[str]:
    forwarded, windows = outcome.facts["forwarded"], outcome.facts["windows"]
    return [f"{forwarded} of {windows} windows forwarded"] if forwarded < windows else []


def _coverage(cfg: DictConfig, plan: RankPlan) -> list[str]:
    """What was scored and what was left out, in words."""
    from benchmark.data.tasks.checking import header_note

    lines = plan.ranker.choice.describe()
    if note := header_note(plan.ranker.checked):
        lines.append(note)
    if cfg.minutes is not None:
        lines.append(f"minutes={cfg.minutes:g} gave {plan.ranker.choice.settings}; the same again: {plan.command}")
    return lines


def _write(cfg: DictConfig, plan: RankPlan, ranking: "Ranking", account: "Account", screen: "Screen") -> None:
    from analysis.ranking.page import ranking_page
    from analysis.ranking.tables import ranking_csv, ranking_json
    from benchmark.data.slices import png, three_slices
    from benchmark.jobs.provenance import provenance
    from benchmark.sources.opening import files_digest
    from benchmark.storage.files import write_bytes

    ranker, choice = plan.ranker, plan.ranker.choice
    case = ranker.chosen_cases().prepare([0], required=False).reader(0)
    origin, scored = provenance(), [printable(name) for name in account.costs["source"]]
    facts = {
        "provenance": origin.tags | origin.details,
        "sources": plan.sources,
        "digests": {name: files_digest(OmegaConf.create(plan.sources[name])) for name in scored},
        "settings": ranker.options.settings,
        "seed": cfg.seed,
        "minutes": cfg.minutes,
        "windows": choice.windows,
        "scored_cases": list(choice.chosen),
        "left_out_cases": list(choice.left_out),
        "command": plan.command,
        "forecast": plan.forecast.entry(choice)
        | {
            "seconds_taken": time.monotonic() - plan.start,
            "peak_memory_mb": float(account.costs["peak_memory_mb"].max()),
        },
    }
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
