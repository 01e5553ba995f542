"""Open tasks, and generate embedded tasks that do not exist on this machine yet."""

from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.data.tasks.task import Task
from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import code_digest, targets
from benchmark.storage.files import clear_partial


def cutting_code(task: DictConfig) -> str:
    """Digest of the code that generates a task's cases."""
    return code_digest(tuple(sorted(set(targets(resolved(task))))))


def prepared(node: DictConfig, data_dir: str | Path) -> Task:
    """Open a task; an embedded task that does not exist on this machine yet is generated first.

    Args:
        node: The task's config.
        data_dir: The folder of tasks and downloaded packages.
    """
    task: Task = instantiate(node)
    code = cutting_code(node)
    if not task.is_made(code=code):
        make(task, Path(data_dir), code)
    return task


def make(task: Task, data_dir: Path, code: str) -> bool:
    """Generate or check a task; a lock lets only one process do so at a time."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f".{task.name}.lock"):
        if isinstance(task, DecathlonTask):  # generated; never clean up next to a user's own data
            clear_partial(Path(task.folder))
        return task.prepare(data_dir / "packages", code=code)
