"""Make a task ready: fetch, cut, check, picture; `python -m benchmark.prepare -m task=liver,spleen`."""

import logging
from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.command import resolved, run_command
from benchmark.data.decathlon import DecathlonTask
from benchmark.data.task import Task
from benchmark.jobs import code_digest, job_key, targets
from benchmark.progress import Reporter
from benchmark.records import Data
from benchmark.work_folder import clear_partial, work_folder

log = logging.getLogger(__name__)


def prepare_key(task: DictConfig) -> str:
    """The key of the job that prepares a task."""
    settings = resolved(task)
    return job_key("prepare", "benchmark.prepare", {"task": settings}, code=targets(settings))


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
        _make(task, Path(data_dir), code)
    return task


def _make(task: Task, data_dir: Path, code: str) -> bool:
    """Make or check a task, one process at a time, whichever command asks for it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f".{task.name}.lock"):
        if isinstance(task, DecathlonTask):  # it makes its folder; what lies beside a user's own is the user's
            clear_partial(Path(task.folder))
        return task.prepare(data_dir / "packages", code=code)


def run(cfg: DictConfig) -> None:
    """Prepare one task and log its picture; a task that is there is only checked."""
    store = instantiate(cfg.tracking)
    store.prepare()
    task: Task = instantiate(cfg.task)
    key = prepare_key(cfg.task)
    reporter = Reporter(cfg.progress and Path(cfg.progress), f"prepare {task.name}", 1)
    with store.claim(key) as finished:
        made = _make(task, Path(cfg.data_dir), cutting_code(cfg.task))
        if finished is None:
            config = resolved(cfg.task)
            with store.run(
                "prepare", key, task.name, params={"task": task.name}, config=config, suite=cfg.suite.name
            ) as run:
                run.log(metrics={f"cases_{split}": len(task.names(split)) for split in task.splits})
                data = Data(task.name, task.digest(), task.folder, "task")
                run.log(tags={"data_digest": data.digest, "folder": str(task.folder)})
                run.describe(f"The task **{task.name}**: its cases, as every other run reads them.", [data])
                run.file(Path(task.folder) / "dataset.json")
                with work_folder(cfg.output_dir, key) as folder:
                    run.file(_picture(task, folder), "pictures")
    log.info("task %s: %s in %s", task.name, "cut" if made else "was there", task.folder)
    reporter.finish(key)


def _picture(task: Task, folder: Path) -> Path:
    from benchmark.pictures import three_slices, write_picture

    case = next(case for case in task.cases("train") if bool(case.labels.any()))
    path = folder / f"{task.name}.png"
    write_picture(three_slices(case.image[0], case.labels), path)
    return path


def main() -> None:
    """Entry point."""
    run_command("prepare", run)


if __name__ == "__main__":
    main()
