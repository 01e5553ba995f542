"""What a bench would do: its jobs, what is finished, how long a job took so far, and how long the rest will take."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table

from benchmark.orchestration.planner import Job
from benchmark.tracking.records import Row


@dataclass(frozen=True)
class StageForecast:
    """One stage of a forecast.

    Attributes:
        stage: The stage.
        jobs: All its jobs.
        left: Those that are not finished.
        measured: Mean seconds of a finished run of the stage; NaN where none is finished.
        seconds: Seconds of the jobs that are left, on one worker: measured where a run is finished, else the plan's
            rough figure.
    """

    stage: str
    jobs: Sequence[Job]
    left: Sequence[Job]
    measured: float
    seconds: float


def forecast(stage: str, jobs: Sequence[Job], finished: Mapping[str, Row]) -> StageForecast:
    """What is left of a stage, and how long it takes.

    Args:
        stage: The stage.
        jobs: Its jobs.
        finished: Key -> finished run, of all stages.
    """
    left = [job for job in jobs if not set(job.keys) <= set(finished)]
    times = [row.seconds for row in finished.values() if row.stage == stage and not math.isnan(row.seconds)]
    measured = fmean(times) if times else math.nan
    missing = {job: sum(key not in finished for key in job.keys) for job in left}
    seconds = (
        sum(job.work * missing[job] / len(job.keys) for job in left)
        if math.isnan(measured)
        else measured * sum(missing.values())
    )
    return StageForecast(stage, jobs, left, measured, seconds)


def show_forecast(stages: Iterable[StageForecast], *, workers: int, console: Console) -> None:
    """Print the jobs that are left, a line each, and a table of the stages.

    Args:
        stages: In their order.
        workers: How many jobs run at once.
        console: Where.
    """
    held = list(stages)
    for stage in held:
        for job in stage.left:
            console.print(f"{stage.stage} {' '.join(job.overrides)}", highlight=False, markup=False, soft_wrap=True)
    table = Table("stage", "jobs", "finished", "left", "a run took", f"left on {workers} workers")
    for stage in held:
        took = "not measured yet" if math.isnan(stage.measured) else f"{stage.measured:.1f} s"
        done = len(stage.jobs) - len(stage.left)
        # a stage waits for the one before it, and its last jobs do not fill all workers
        share = _readable(stage.seconds / max(1, min(workers, len(stage.left))))
        table.add_row(stage.stage, str(len(stage.jobs)), str(done), str(len(stage.left)), took, share)
    console.print(table)
    total = sum(stage.seconds / max(1, min(workers, len(stage.left))) for stage in held)
    console.print(f"in all about {_readable(total)} on {workers} workers; nothing was run", highlight=False)


def _readable(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"
