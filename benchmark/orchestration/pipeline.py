"""A bench that is under way: its stages in their order, their jobs handed to a launcher, and how it ends."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.prepared import cutting_code
from benchmark.errors import InputError
from benchmark.jobs.cli import BAD_INPUT, FINISHED_WITH_FAILURES, composed, one_line, told
from benchmark.orchestration.failed_jobs import FailedJob
from benchmark.orchestration.launcher import launch
from benchmark.orchestration.planner import Job, Planner
from benchmark.orchestration.progress_display import Board, watch
from benchmark.tracking import Store

PLACES = ("uri", "experiment", "artifacts", "outbox", "locks")  # of the store; jobs must have the bench's own
INTERRUPTED = 130  # exit code, as shells give it for Ctrl-C
STAGES = ("prepare", "pretrain", "truth", "score")


@dataclass
class Bench:
    """A bench that is under way.

    Attributes:
        cfg: The bench's config.
        store: Where finished jobs are.
        launcher: Overrides that choose and set up the launcher.
        folder: Where the jobs' logs go.
        failures: The jobs that did not finish.
        only: With retry=failed, the keys that may run; None for all.
        ran: How many jobs were launched.
    """

    cfg: DictConfig
    store: Store
    launcher: list[str]
    folder: Path
    failures: list[FailedJob] = field(default_factory=list)
    only: set[str] | None = None
    ran: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.board = Board(self.folder / "progress.jsonl")

    def say(self, line: str) -> None:
        """Print a line."""
        self.board.console.print(line, highlight=False, soft_wrap=True)

    def overrides(self) -> dict[str, list[str]]:
        """Stage -> the overrides that each of its jobs gets."""
        chosen = HydraConfig.get().runtime.choices
        places = [f"{name}={self.cfg[name]}" for name in ("data_dir", "output_dir", "threads")]
        tracking = [f"tracking.{name}='{self.cfg.tracking[name]}'" for name in PLACES]
        tracking.append(f"tracking.patience={self.cfg.tracking.patience}")
        shared = [
            *places,
            *tracking,
            f"device={chosen['device']}",
            f"device.amp={self.cfg.device.amp or 'null'}",
            f"progress={self.board.path}",
            f"time_limit={'null' if self.cfg.time_limit is None else self.cfg.time_limit}",
            f"stop_file={self.folder / 'stop' if self.cfg.fail_fast else 'null'}",
            *self.cfg.overrides.all,
        ]
        experiment = [f"experiment={chosen['experiment']}"]
        return {
            stage: [*shared, *(experiment if stage != "prepare" else [f"suite={chosen['suite']}"]),
                    *self.cfg.overrides.get(stage, [])]
            for stage in (*STAGES, "correlate")
        }  # fmt: skip

    def expect(self, jobs: Sequence[Job], done: set[str]) -> None:
        """Count the runs that are not finished as work to come, for the remaining time."""
        self.board.work |= {key: job.work / len(job.keys) for job in jobs for key in job.keys if key not in done}

    def stage(self, name: str, jobs: Sequence[Job], overrides: Sequence[str], done: set[str]) -> None:
        """Run the jobs of a stage that are not finished."""
        asked = self.only if name != "prepare" else None  # the others' data must be there, whatever is asked for
        left = [job for job in jobs if not set(job.keys) <= done and (asked is None or asked & set(job.keys))]
        if not left:
            self.say(f"{name}: all {len(jobs)} jobs were finished before" if self.only is None else f"{name}: no job")
            return
        self.ran += len(left)
        with watch(self.board, name, {key for job in left for key in job.keys}):
            failed = launch_all(self, name, left, overrides)
        self.failures += failed
        self.say(f"{name}: {len(left)} jobs run, {len(jobs) - len(left)} were finished before")


def launch_all(bench: Bench, name: str, jobs: Sequence[Job], overrides: Sequence[str]) -> list[FailedJob]:
    """Launch the jobs of a stage; where the launcher itself breaks, as when a worker is killed, launch what is left.

    Args:
        bench: The bench.
        name: The stage.
        jobs: Its jobs that are not finished.
        overrides: Of each of them.

    Returns:
        The jobs that did not finish.
    """
    left = list(jobs)
    for attempt in range(len(jobs) + 1):
        try:
            failures = launch(
                name,
                get_method(f"benchmark.{name}.run"),
                [job.overrides for job in left],
                shared=overrides,
                launcher=bench.launcher,
                folder=str(bench.folder / name) + (f"_{attempt + 1}" if attempt else ""),
            )
        except InputError:
            raise
        except Exception as error:
            finished = set(bench.store.finished(name))
            rest = [job for job in left if not set(job.keys) <= finished]
            bench.say(f"{name}: the launcher stopped ({one_line(error)[:200]}); {len(rest)} jobs are left")
            if len(rest) == len(left):
                return [_failed(name, job, error, str(bench.folder / name)) for job in rest]
            left = rest
        else:
            known = {" ".join(job.overrides): job for job in left}
            return [_failed(name, known[failure.job], failure.error, failure.log) for failure in failures]
    return []


def _failed(stage: str, job: Job, error: BaseException, log: str) -> FailedJob:
    line = one_line(error).partition("; ")[0] if told(error) is None else one_line(error)
    return FailedJob(stage, " ".join(job.overrides), job.keys, line, log, told(error) is not None)


def run_stages(bench: Bench, planner: Planner, finished: set[str]) -> Mapping[str, Sequence[Job]] | None:
    """Run what is not finished of every stage.

    Args:
        bench: The bench.
        planner: Of its jobs.
        finished: Keys of the jobs that were finished before.

    Returns:
        Stage -> its jobs, after `prepare`; None if a task could not be made.
    """
    overrides = planner.overrides
    tasks = planner.prepare()
    there = {key for job in tasks for key in job.keys if is_there(overrides["prepare"], job)} & finished
    bench.board.work |= {key: job.work for job in tasks for key in job.keys if key not in there}
    bench.stage("prepare", tasks, overrides["prepare"], there)
    if bench.failures:
        return None
    plan = planner.after_prepare()
    for jobs in plan.values():
        bench.expect(jobs, finished)
    for stage, jobs in plan.items():
        bench.stage(stage, jobs, overrides[stage], finished)
    return plan


def keys_of(plan: Mapping[str, Sequence[Job]]) -> dict[str, list[str]]:
    """Stage -> the keys of its jobs."""
    return {stage: [key for job in jobs for key in job.keys] for stage, jobs in plan.items()}


def is_there(overrides: Sequence[str], job: Job) -> bool:
    """Whether a task has nothing left to make."""
    node = composed("prepare", [*overrides, *job.overrides]).task
    there: bool = instantiate(node).is_made(code=cutting_code(node))
    return there


def launcher_overrides() -> list[str]:
    """The launcher's choice and settings, as given to the bench, for its stages."""
    every = HydraConfig.get().overrides.hydra
    given = [one for one in every if one.lstrip("+~").startswith(("hydra.launcher", "hydra/launcher"))]
    choice = f"hydra/launcher={HydraConfig.get().runtime.choices['hydra/launcher']}"
    return [choice, *[one for one in given if not one.startswith("hydra/launcher=")]]


def interrupted(bench: Bench, command: str) -> NoReturn:
    """Say what came of it until Ctrl-C, and exit."""
    bench.board.read()
    done, whole = len(bench.board.finished & set(bench.board.work)), len(bench.board.work)
    bench.say(f"interrupted after {done} of {whole} runs: they stay, and the next {command} goes on")
    _sum_up(bench, command)
    sys.exit(INTERRUPTED)


def _sum_up(bench: Bench, command: str) -> None:
    bench.say(f"the {command} took {bench.board.elapsed() / 60.0:.1f} min")
    if bench.failures:
        alone = " (`--retry failed` runs these alone)" if command == "bench" else ""
        bench.say(f"{len(bench.failures)} jobs failed; what is finished stays, and the next run goes on{alone}:")
    for failure in bench.failures:
        bench.say(f"  {failure}")


def finish(bench: Bench, command: str) -> None:
    """Say how long it took and what failed, and exit accordingly."""
    _sum_up(bench, command)
    if not bench.failures:
        return
    sys.stderr.write(f"error: {bench.failures[0].error}\n")
    all_bad = all(failure.bad_input for failure in bench.failures) and len(bench.failures) >= bench.ran
    sys.exit(BAD_INPUT if all_bad else FINISHED_WITH_FAILURES)
