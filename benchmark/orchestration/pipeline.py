"""Runs the stages of a bench in order, launches their jobs and reports how it ended."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeVar, cast

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.opening import cutting_code
from benchmark.errors import INTERRUPTED, InputError, one_line
from benchmark.jobs.cli import BAD_INPUT, FINISHED_WITH_FAILURES, composed
from benchmark.jobs.suite_settings import STAGE_OF
from benchmark.orchestration.failed_jobs import FailedJob, failed_job
from benchmark.orchestration.further_jobs import further_jobs
from benchmark.orchestration.launcher import launch, launcher_overrides
from benchmark.orchestration.planner import Job, Planner
from benchmark.orchestration.progress_display import Board, watch
from benchmark.tracking import Store

PLACES = ("uri", "experiment", "artifacts", "outbox", "locks")  # tracking settings that jobs share with the bench
STAGES = ("prepare", "pretrain", "truth", "score")
PASSED_ON = ("suite.", "trainer=", "trainer.", "monai.", "nnunet.")  # overrides of the bench that its jobs take, too

Value = TypeVar("Value")


@dataclass
class Bench:
    """A running bench.

    Attributes:
        cfg: The bench's config.
        folder: Where the jobs' logs go: a new folder, named by the time, in the folder that was given.
        only: The keys to run again with retry=failed; None for all.
        failures: The jobs that failed.
        ran: Number of launched jobs.
        store: The store of finished jobs.
        board: The progress of its jobs.
    """

    cfg: DictConfig
    folder: Path
    only: set[str] | None = None
    failures: list[FailedJob] = field(default_factory=list)
    ran: int = 0

    def __post_init__(self) -> None:
        self.store: Store = instantiate(self.cfg.tracking)
        self.store.prepare()
        self.folder /= time.strftime("%Y-%m-%d_%H-%M-%S")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.board = Board(self.folder / "progress.jsonl")

    def say(self, line: str) -> None:
        """Print a line."""
        self.board.console.print(line, highlight=False, soft_wrap=True)

    def overrides(self) -> dict[str, list[str]]:
        """Stage -> the overrides shared by its jobs."""
        chosen = HydraConfig.get().runtime.choices
        shared = job_overrides(self.cfg, progress=self.board.path)
        shared.append(f"stop_file={self.folder / 'stop' if self.cfg.fail_fast else 'null'}")
        choices = dict.fromkeys((*STAGES, "correlate"), f"experiment={chosen['experiment']}")
        choices["prepare"] = f"suite={chosen['suite']}"
        every, own = list(self.cfg.overrides.all), {stage: self.cfg.overrides.get(stage, []) for stage in choices}
        return {
            stage: [*shared, *_passed_on(stage, [*every, *own[stage]]), *every, choice, *own[stage]]
            for stage, choice in choices.items()
        }

    def expect(self, stage: str, jobs: Sequence[Job], done: set[str]) -> None:
        """Add unfinished runs to the work that the remaining time is estimated from."""
        left = self._unfinished(stage, jobs, done)
        work = {key: job.work / len(job.keys) for job in left for key in job.keys if key not in done}
        self.board.remaining.expect(stage, work)

    def _unfinished(self, stage: str, jobs: Sequence[Job], done: set[str]) -> list[Job]:
        only = self.only if stage != "prepare" else None  # later stages need the data of every task
        return [job for job in jobs if not set(job.keys) <= done and (only is None or only & set(job.keys))]

    def stage(self, name: str, jobs: Sequence[Job], overrides: Sequence[str], done: set[str], label: str = "") -> None:
        """Run the unfinished jobs of a stage; `label` names it where a stage of that name has already run."""
        label, left = label or name, self._unfinished(name, jobs, done)
        if not left:
            self.say(f"{label}: all {len(jobs)} jobs already finished" if self.only is None else f"{label}: no jobs")
            return
        self.ran += len(left)
        with watch(self.board, label, {key for job in left for key in job.keys}):
            failed = launch_all(self, name, left, overrides)
        self.failures += failed
        self.say(f"{label}: {len(left)} jobs run, {len(jobs) - len(left)} already finished")


def job_overrides(cfg: DictConfig, *, progress: Path) -> list[str]:
    """The settings of a command that its jobs take over: places, tracking, data, device, threads, time limit."""
    tracking = [f"tracking.{name}='{cfg.tracking[name]}'" for name in PLACES]
    return [
        *(f"{name}={cfg[name]}" for name in ("data_dir", "output_dir", "threads")),
        *tracking,
        f"tracking.patience={cfg.tracking.patience}",
        *(f"data.{name}={'null' if value is None else value}" for name, value in cfg.data.items()),
        f"device={HydraConfig.get().runtime.choices['device']}",
        f"device.amp={cfg.device.amp or 'null'}",
        f"device.deterministic={cfg.device.deterministic}",
        f"progress={progress}",
        f"time_limit={'null' if cfg.time_limit is None else cfg.time_limit}",
    ]


def launch_all(bench: Bench, name: str, jobs: Sequence[Job], overrides: Sequence[str]) -> list[FailedJob]:
    """Launch the jobs of a stage; if the launcher itself fails (a killed worker), launch the remaining jobs again."""
    left = list(jobs)
    for attempt in range(len(jobs) + 1):
        try:
            folder = str(bench.folder / name) + (f"_{attempt + 1}" if attempt else "")
            return launch(name, left, shared=overrides, launcher=launcher_overrides(), folder=folder)
        except InputError:
            raise
        except Exception as error:
            finished = set(bench.store.finished(name))
            rest = [job for job in left if not set(job.keys) <= finished]
            bench.say(f"{name}: the launcher failed ({one_line(error)}); {len(rest)} jobs left")
            if len(rest) == len(left):
                return [failed_job(name, job, error, str(bench.folder / name)) for job in rest]
            left = rest
    return []


def run_stages(
    bench: Bench, planner: Planner, finished: set[str], *, correlates: bool = False, until: str | None = None
) -> Mapping[str, Sequence[Job]] | None:
    """Run the jobs of every stage whose keys are not among the finished ones.

    Args:
        bench: The bench.
        planner: The planner of its jobs.
        finished: Keys of the finished jobs.
        correlates: Whether `correlate` runs afterwards. If so, its time is part of the remaining time, and the further
            jobs whose results it reports run after those of each stage.
        until: The last stage to run, without `correlate`; None: all.

    Returns:
        Stage or kind of further jobs -> its jobs, for the stages after `prepare`; None if a task could not be prepared.
    """
    overrides = planner.overrides
    tasks = planner.prepare()
    prepared = {key for job in tasks for key in job.keys if is_prepared(overrides["prepare"], job)} & finished
    bench.expect("prepare", tasks, prepared)
    bench.board.remaining.planned = False  # the keys of later stages depend on the prepared data
    bench.stage("prepare", tasks, overrides["prepare"], prepared)
    if bench.failures or until == "prepare":
        return None
    plan = planner.after_prepare()
    further = further_jobs(planner) if correlates else {}
    stages = up_to(until, with_further(plan, further))
    for stage, jobs in stages.items():
        bench.expect(stage, jobs, finished)
    bench.board.remaining.planned = True
    if correlates and until is None:
        bench.board.remaining.expect("correlate", {"correlate": planner.correlate_work()})
    for stage, jobs in stages.items():
        bench.stage(stage, jobs, overrides[stage], finished)
    return plan | further


def with_further(plan: Mapping[str, Sequence[Job]], further: Mapping[str, Sequence[Job]]) -> dict[str, list[Job]]:
    """Stage -> its own jobs and, after them, the further jobs that belong to it."""
    return {
        stage: [*jobs, *(job for kind, more in further.items() if STAGE_OF[kind] == stage for job in more)]
        for stage, jobs in plan.items()
    }


def up_to(until: str | None, stages: Mapping[str, Value]) -> dict[str, Value]:
    """The stages up to one of them, and with it; all of them for None.

    Example:
        >>> up_to("truth", {"pretrain": 3, "truth": 2, "score": 1})
        {'pretrain': 3, 'truth': 2}
    """
    last = STAGES.index(until) if until is not None else len(STAGES)
    return {stage: value for stage, value in stages.items() if STAGES.index(stage) <= last}


def keys_of(plan: Mapping[str, Sequence[Job]]) -> dict[str, list[str]]:
    """Stage or kind of further jobs -> the keys of its jobs."""
    return {stage: [key for job in jobs for key in job.keys] for stage, jobs in plan.items()}


def is_prepared(overrides: Sequence[str], job: Job) -> bool:
    """Whether the data of a task are complete."""
    node = composed("prepare", [*overrides, *job.overrides]).task
    return cast("bool", instantiate(node).is_made(code=cutting_code(node)))


def _passed_on(stage: str, further: Sequence[str]) -> list[str]:
    """The bench's own overrides that the jobs of a stage take, too, without those that `further` overrides repeat."""
    roots = PASSED_ON[:1] if stage == "prepare" else PASSED_ON  # which takes no experiment, so maybe another trainer
    roots = (*roots, "stream.") if stage == "score" else roots
    repeated = {*further, *(item.partition("=")[0] for item in further if not item.startswith(("~", "+")))}
    given = [item for item in HydraConfig.get().overrides.task if item.lstrip("+~").startswith(roots)]
    return [item for item in given if item not in repeated and item.partition("=")[0] not in repeated]


def interrupted(bench: Bench, command: str) -> NoReturn:
    """Report the state of a bench after Ctrl-C, and exit."""
    bench.board.read()
    keys = {key for name, stage in bench.board.remaining.stages.items() if name != "correlate" for key in stage.work}
    done, total = len(bench.board.finished & keys), len(keys)
    bench.say(f"interrupted: {done} of {total} runs are finished and kept; run again to resume")
    _sum_up(bench, command)
    sys.exit(INTERRUPTED)


def _sum_up(bench: Bench, command: str) -> None:
    bench.say(f"the {command} took {bench.board.elapsed() / 60.0:.1f} min")
    if bench.failures:
        retry = ", or with `--retry failed` to run only these" if command == "bench" else ""
        bench.say(f"{len(bench.failures)} jobs failed; finished jobs are kept; run again to resume{retry}:")
    for failure in bench.failures:
        bench.say(f"  {failure}")
    if line := bench.board.write_shown():
        bench.say(line)


def finish(bench: Bench, command: str) -> None:
    """Print the time and the failed jobs, and exit with the matching code."""
    _sum_up(bench, command)
    if not bench.failures:
        return
    sys.stderr.write(f"error: {bench.failures[0].error}\n")
    all_bad = all(failure.bad_input for failure in bench.failures) and len(bench.failures) >= bench.ran
    sys.exit(BAD_INPUT if all_bad else FINISHED_WITH_FAILURES)
