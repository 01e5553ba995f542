"""Fine-tune the candidates of a ranking, drop the worse ones on the way, keep the winner.

`python -m benchmark.race task=FOLDER source=FOLDER_OF_CHECKPOINTS`, or `ranking=outputs/rank/TASK/ranking.json`.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.errors import INTERRUPTED, InputError, listed
from benchmark.jobs.cli import composed, entry_point, resolved
from benchmark.ranking.inputs import as_values, named, places_of
from benchmark.storage.files import write_bytes

if TYPE_CHECKING:
    from analysis.racing.outcome import RaceOutcome
    from benchmark.data.tasks.task import Task
    from benchmark.racing.forecast import RaceForecast
    from benchmark.racing.halving import Race
    from benchmark.racing.plan import RacePlan
    from benchmark.racing.runner import RaceRunner
    from benchmark.training.trainer import Trainer

KEEP = 8  # maximum number of candidates of a ranking by default
ONE_CANDIDATE = (
    "the ranking separates its first source from all others on these cases, so one candidate is left and nothing is "
    "raced; this does not say that the estimates predict the Dice after fine-tuning: prior=none races all sources of "
    "`source=`"
)
TRAINER = ("trainer=", "trainer.", "monai.", "nnunet.")  # overrides that the ranking's cost of fine-tuning follows, too


def run(cfg: DictConfig) -> None:
    """Choose the candidates, race them, print and write the result, and save the winner's checkpoint."""
    from benchmark.data.tasks.opening import prepared
    from benchmark.racing.halving import Race
    from benchmark.racing.runner import only_race
    from benchmark.racing.settings import SETTINGS, check_settings

    check_settings({name: resolved(cfg.get(name)) for name in SETTINGS})
    trainer = instantiate(cfg.trainer)
    ranking, notes = _ranking(cfg)
    plan = _plan(cfg, ranking, notes)
    target = prepared(OmegaConf.create(dict(plan.task)), cfg.data_dir)
    runner = _runner(cfg, plan, target, trainer)
    race = Race(list(plan.candidates), runner.trainer.rungs, cfg.budget)
    _check_cases(cfg, target)
    for note in notes:
        runner.say(note)
    if cfg.dry_run:
        _dry_run(cfg, race, runner, target)
        return
    with only_race(runner.folder):
        runner.begin(retry=cfg.retry is not None)
        stopped = _race(race, runner)
        outcome = _outcome(race, runner, target, ranking=ranking, notes=[*notes, *runner.notes()], stopped=stopped)
        if race.leader is None:
            _show(outcome, runner)
            raise InputError(_nothing_trained(race, runner, register=cfg.register))
        _show(_finish(cfg, outcome, runner, target), runner)
        runner.say(f"results: race.html, race.csv, race.json in {runner.folder}")
    if stopped == "interrupted":
        sys.exit(INTERRUPTED)


def _ranking(cfg: DictConfig) -> tuple[dict[str, Any], list[str]]:
    """The content of a ranking.json, or of what it would say without scores, and notes on it."""
    from benchmark.racing.plan import read_ranking
    from benchmark.ranking.pool_ranking import rank_pool
    from benchmark.ranking.source_timing import forecast_of

    if cfg.ranking is not None:
        ranking = read_ranking(path := Path(cfg.ranking), trust=cfg.trust)
        return ranking, [_candidates_note(cfg, path), *_trust_note(cfg, ranking)]
    if cfg.prior == "none":
        return _unranked(cfg), ["candidates: the sources in the order given, without a ranking (prior=none)"]
    start, overrides = time.monotonic(), _rank_overrides(cfg)
    node, given = named(cfg)
    rank_pool(composed("rank", overrides), node, given, timed=forecast_of, arguments=overrides, start=start)
    name = instantiate(node).name
    path = Path(cfg.output_dir) / "rank" / quote(name, safe="") / "ranking.json"
    return read_ranking(path, trust=cfg.trust), [_candidates_note(cfg, path)]


def _candidates_note(cfg: DictConfig, path: Path) -> str:
    if cfg.prior == "none":
        return f"candidates: every source of {path} (prior=none)"
    return f"candidates: those that {path} does not separate from its first source"


def _trust_note(cfg: DictConfig, ranking: Mapping[str, Any]) -> list[str]:
    if not cfg.trust or any(node.get("trust") for node in ranking["sources"].values()):
        return []
    return [f"trust=true has no effect: {cfg.ranking} was made without it, or none of its sources needs it; rank again "
            "with trust=true"]  # fmt: skip


def _unranked(cfg: DictConfig) -> dict[str, Any]:
    from benchmark.ranking.pool_ranking import printable

    node, found = named(cfg)
    nodes = {printable(name): node for name, node in found.nodes.items()}
    return {"ranking": [], "cannot_be_told_apart": [], "sources": nodes, "skipped": dict(found.left),
            "settings": {"task": resolved(node)}}  # fmt: skip


def _rank_overrides(cfg: DictConfig) -> list[str]:
    given = resolved(cfg.given)
    trainer = [item for item in HydraConfig.get().overrides.task if item.lstrip("+~").startswith(TRAINER)]
    return [
        *(f"given.{name}={_quoted(value)}" for name, value in given.items() if value is not None),
        *places_of(cfg),
        *trainer,
        f"trust={cfg.trust}",
        f"links={cfg.links}",
        f"device={HydraConfig.get().runtime.choices['device']}",
        f"tracking.uri={_quoted(cfg.tracking.uri)}",
        *(f"preparation.{name}={value}" for name, value in cfg.preparation.items()),
        *resolved(cfg.rank),
    ]


def _quoted(value: object) -> str:
    from benchmark.jobs.path_arguments import quoted

    return f"[{','.join(map(quoted, value))}]" if isinstance(value, list) else quoted(str(value))


def _plan(cfg: DictConfig, ranking: Mapping[str, Any], notes: list[str]) -> "RacePlan":
    from benchmark.racing.plan import RacePlan, changed_candidates, chosen_candidates, with_validation

    path = Path(cfg.ranking or "ranking.json")
    keep = KEEP if cfg.keep is None and cfg.prior == "ranking" else cfg.keep
    candidates, left = chosen_candidates(ranking, prior=cfg.prior, keep=keep, path=path)
    if left:
        notes.append(f"left out by keep={keep}: {', '.join(left)}")
    if len(candidates) == 1 and not left and cfg.prior == "ranking":
        notes.append(ONE_CANDIDATE)
    if changed := changed_candidates(ranking, candidates):
        notes.append(f"changed since {path} was written: {listed(changed)}; the choice of candidates is that of the "
                     "old files, so rank again to choose anew")  # fmt: skip
    notes += [f"not a candidate: {name}: {why}" for name, why in ranking.get("skipped", {}).items()
              if name not in candidates]  # fmt: skip
    task = with_validation(
        ranking["settings"]["task"],
        share=cfg.validation_share,
        seed=cfg.split_seed,
        folds=cfg.folds,
        fold=cfg.fold,
    )
    return RacePlan(task, candidates, _preparation(cfg, ranking), resolved(cfg.trainer))


def _preparation(cfg: DictConfig, ranking: Mapping[str, Any]) -> dict[str, str]:
    """The preparation of the ranking, except for what the command line gives."""
    given = {item.lstrip("+~").partition("=")[0] for item in HydraConfig.get().overrides.task}
    stored = {} if "preparation" in given else ranking["settings"].get("preparation", {})
    own: dict[str, str] = resolved(cfg.preparation)
    return {name: own[name] if f"preparation.{name}" in given else stored.get(name, own[name]) for name in own}


def _runner(cfg: DictConfig, plan: "RacePlan", target: "Task", trainer: "Trainer") -> "RaceRunner":
    from benchmark.orchestration.pipeline import job_overrides
    from benchmark.orchestration.progress_display import Board
    from benchmark.racing.runner import RaceRunner
    from benchmark.racing.settings import seeds_of

    output = Path(cfg.output_dir).absolute()
    folder = output / "race" / quote(target.name, safe="")
    progress = folder / "progress.jsonl"
    store = instantiate(cfg.tracking)
    store.prepare()
    return RaceRunner(
        plan=plan,
        store=store,
        trainer=trainer,
        data=target.digest(),
        seeds=seeds_of(resolved(cfg.seeds)),
        folder=folder,
        states=output / "race" / "states",
        shared=job_overrides(cfg, progress=progress),
        board=Board(progress),
        stop=cfg.stop,
    )


def _check_cases(cfg: DictConfig, target: "Task") -> None:
    """Read every training and validation case once, so that a broken one is reported before hours of work."""
    from benchmark.data.tasks.checking import check_cases
    from benchmark.data.tasks.task import Split
    from benchmark.ranking.ranker import cache_folder

    for split in (Split.TRAIN, Split.VALIDATION):
        check_cases(target, split, folder=cache_folder(Path(cfg.output_dir)) / "checked")


def _dry_run(cfg: DictConfig, race: "Race", runner: "RaceRunner", target: "Task") -> None:
    from benchmark.racing.forecast import forecast_race

    forecast = forecast_race(
        runner.plan, race, target, runner.trainer, runner.store,
        seeds=len(runner.seeds), device=cfg.device.name, output=Path(cfg.output_dir),
    )  # fmt: skip
    one_by_one = HydraConfig.get().runtime.choices["hydra/launcher"] == "basic"
    for line in forecast_lines(forecast, workers=1 if one_by_one else cfg.workers):
        runner.say(line)


def forecast_lines(forecast: "RaceForecast", *, workers: int) -> list[str]:
    """What a race will take, in words.

    Args:
        forecast: The forecast.
        workers: Number of jobs that run at the same time.
    """
    from analysis.tables.number_format import counted, duration, memory_size, percent

    race, (min_steps, max_steps), total = forecast.race, forecast.steps, forecast.race.total * forecast.seeds
    count, ends = counted(len(race.candidates), "candidate"), ", ".join(map(str, race.rungs.values()))
    workers = min(workers, len(race.candidates) * forecast.seeds)
    steps, shares = (_range(form(min_steps), form(max_steps)) for form in (str, lambda number: percent(number / total)))
    lines = [
        *(f"{name} could not be timed: {why}" for name, why in forecast.untimed.items()),
        f"expected: {steps} of {total} steps, {shares} of fine-tuning {count}; rungs end at {ends} steps",
    ]
    if math.isnan(forecast.state_bytes):
        return [*lines, "expected: time and disk are unknown, because no candidate could be timed"]
    times = [duration(forecast.seconds(steps) / workers) for steps in (min_steps, max_steps, total)]
    at_once = "one job at a time" if workers == 1 else (
        f"if {workers} jobs can always run at once (the last candidates run alone, which takes longer)")  # fmt: skip
    return [
        *lines,
        f"expected: {_range(*times[:2])} of training {at_once}, without reading and validation; fine-tuning all: "
        f"{times[2]}",
        f"expected: disk: {memory_size(forecast.state_bytes)} for training states, "
        f"{memory_size(forecast.prepared_bytes)} for prepared cases before compression",
    ]


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _race(race: "Race", runner: "RaceRunner") -> str:
    """Run the race; returns why it ended early, or an empty text.

    Raises:
        InputError: It is to stop, and no rung is finished.
        KeyboardInterrupt: It was interrupted before a rung was finished.
    """
    from benchmark.racing.runner import StoppedError

    try:
        race.run(runner.measure)
    except StoppedError as error:
        if not race.decisions:
            raise InputError("no rung of this race is finished (did a setting change?); nothing was written") from error
        return "stop=true"
    except KeyboardInterrupt:
        if not race.decisions:
            raise
        return "interrupted"
    return ""


def _nothing_trained(race: "Race", runner: "RaceRunner", *, register: str | None) -> str:
    others = "; not registered" if register else ""
    return (f"none of the {len(race.candidates)} candidates could be fine-tuned, for the reasons above; results of an "
            f"earlier race in {runner.folder} are left as they are{others}")  # fmt: skip


def _finish(cfg: DictConfig, outcome: "RaceOutcome", runner: "RaceRunner", target: "Task") -> "RaceOutcome":
    """Save the leader's checkpoint and the results, record the race, and delete the other candidates' states."""
    from dataclasses import replace

    from analysis.racing.page import race_page
    from analysis.racing.tables import race_csv, race_json
    from benchmark.racing.winner import save_leader
    from benchmark.ranking.pool_ranking import UNPRINTABLE

    race, stopped = outcome.race, outcome.stopped
    saved = save_leader(race, runner, target, device=cfg.device.name, deterministic=cfg.device.deterministic)
    outcome = replace(outcome, notes=(*outcome.notes, *saved), checkpoint=str(runner.checkpoint))
    contents = {
        "race.html": race_page(outcome),
        "race.csv": race_csv(outcome),
        "race.json": race_json(outcome, {"command": sys.argv[1:], "plan": str(runner.plan_path)}),
    }
    runner.plan.write(runner.plan_path)  # with stop=true it may be that of another race
    for name, content in contents.items():
        write_bytes(runner.folder / name, content.encode(errors=UNPRINTABLE))
    if stopped and cfg.register:
        runner.say("not registered: the race is not finished")
    if not stopped:
        if line := runner.record([runner.folder / name for name in contents], race, register=cfg.register):
            runner.say(line)
        runner.drop([name for name in race.candidates if name != race.leader])
    return outcome


def _outcome(
    race: "Race",
    runner: "RaceRunner",
    target: "Task",
    *,
    ranking: Mapping[str, Any],
    notes: Sequence[str],
    stopped: str,
) -> "RaceOutcome":
    import pandas as pd

    from analysis.racing.outcome import LOSSES, POINTS, RaceOutcome
    from benchmark.data.tasks.task import Split

    ranked = pd.DataFrame(ranking["ranking"], columns=None if ranking["ranking"] else ["source", "place"])
    return RaceOutcome(
        task=target.name,
        race=race,
        seeds=tuple(runner.seeds),
        train_cases=len(target.names(Split.TRAIN)),
        validation_cases=len(target.names(Split.VALIDATION)),
        scored_cases=runner.scored_cases,
        losses=pd.DataFrame(runner.losses(), columns=list(LOSSES)),
        points=pd.DataFrame(runner.points(), columns=list(POINTS)),
        estimates=ranked[ranked["source"].isin(race.candidates)].reset_index(drop=True),
        notes=tuple(notes),
        stopped=stopped,
    )


def _show(outcome: "RaceOutcome", runner: "RaceRunner") -> None:
    from analysis.racing.tables import race_tables
    from analysis.tables.terminal import TerminalTable

    for table in race_tables(outcome):
        runner.board.console.print(TerminalTable(table))


main = entry_point("race", run, limited=False, rewrite=as_values)


if __name__ == "__main__":
    main()
