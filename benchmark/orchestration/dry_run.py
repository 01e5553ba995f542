"""Dry run of a bench: remaining jobs of every stage and an estimate of their time."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.console import Console
from rich.table import Table

from benchmark.orchestration.planner import Job
from benchmark.tracking.records import Row


@dataclass(frozen=True)
class StageForecast:
    """Forecast of one stage.

    Attributes:
        measured: Mean seconds of a finished run of the stage; NaN if no run is finished.
        seconds: Estimated seconds of the unfinished jobs on one worker, from `measured` or, without it, from the plan.
    """

    stage: str
    jobs: Sequence[Job]
    left: Sequence[Job]
    measured: float
    seconds: float

    def seconds_on(self, workers: int) -> float:
        """Estimated seconds on several workers; the last jobs of a stage do not fill all of them."""
        return self.seconds / max(1, min(workers, len(self.left)))


def forecast(stage: str, jobs: Sequence[Job], finished: Mapping[str, Row]) -> StageForecast:
    """Estimate the remaining jobs and time of a stage; `finished` are the runs of all stages by their keys."""
    left = [job for job in jobs if not set(job.keys) <= set(finished)]
    times = [row.seconds for row in finished.values() if row.stage == stage and not math.isnan(row.seconds)]
    measured = fmean(times) if times else math.nan
    missing = {job: sum(key not in finished for key in job.keys) for job in left}
    planned = sum(job.work * missing[job] / len(job.keys) for job in left)
    seconds = measured * sum(missing.values())
    return StageForecast(stage, jobs, left, measured, planned if math.isnan(measured) else seconds)


def show_forecast(stages: Sequence[StageForecast], *, workers: int, console: Console) -> None:
    """Print every unfinished job on a line of its own, then a table of the stages, which run one after another."""
    for stage in stages:
        for job in stage.left:
            console.print(f"{stage.stage} {' '.join(job.overrides)}", highlight=False, markup=False, soft_wrap=True)
    table = Table("stage", "jobs", "finished", "left", "time per run", f"time left on {workers} workers")
    for stage in stages:
        took = "not measured yet" if math.isnan(stage.measured) else f"{stage.measured:.1f} s"
        done = len(stage.jobs) - len(stage.left)
        left = _readable(stage.seconds_on(workers))
        table.add_row(stage.stage, str(len(stage.jobs)), str(done), str(len(stage.left)), took, left)
    console.print(table)
    total = _readable(sum(stage.seconds_on(workers) for stage in stages))
    console.print(f"about {total} in total on {workers} workers; nothing was run", highlight=False)


def _readable(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"
