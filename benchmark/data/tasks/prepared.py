"""Tasks that are ready on this machine: what can make itself is made, once."""

from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.data.tasks.task import Task
from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import code_digest, targets
from benchmark.jobs.work_folder import clear_partial


def cutting_code(task: DictConfig) -> str:
    """The digest of the code that makes a task's cases."""
    return code_digest(tuple(sorted(set(targets(resolved(task))))))


def prepared(node: DictConfig, data_dir: str | Path) -> Task:
    """A task that is ready on this machine; what can make itself is made, once, where it is not there yet.

    Args:
        node: The task's config.
        data_dir: The folder of tasks and fetched packages.
    """
    task: Task = instantiate(node)
    code = cutting_code(node)
    if not task.is_made(code=code):
        make(task, Path(data_dir), code)
    return task


def make(task: Task, data_dir: Path, code: str) -> bool:
    """Make or check a task, one process at a time, whichever command asks for it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f".{task.name}.lock"):
        if isinstance(task, DecathlonTask):  # it makes its folder; what lies beside a user's own is the user's
            clear_partial(Path(task.folder))
        return task.prepare(data_dir / "packages", code=code)
