"""The stages of a bench in their order; `study` runs the same ones before its own jobs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hydra import compose
from hydra.utils import instantiate

from benchmark import prepare
from benchmark.plan import Job, Planner

if TYPE_CHECKING:
    from benchmark.bench import Bench


def run_stages(bench: "Bench", planner: Planner, finished: set[str]) -> Mapping[str, Sequence[Job]] | None:
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
    node = compose("prepare", [*overrides, *job.overrides]).task
    there: bool = instantiate(node).is_made(code=prepare.cutting_code(node))
    return there
