"""Prepare tasks: fetch, cut and check data, draw a picture; `python -m benchmark.prepare -m task=liver,spleen`."""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.opening import cutting_code, make
from benchmark.data.tasks.task import Split, Task
from benchmark.jobs.cli import entry_point, resolved
from benchmark.jobs.progress import Reporter
from benchmark.jobs.resources import work_folder
from benchmark.jobs.stage_keys import prepare_key
from benchmark.tracking.records import Data

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Prepare one task and log its picture; existing data are only checked."""
    store = instantiate(cfg.tracking)
    store.prepare()
    task: Task = instantiate(cfg.task)
    key = prepare_key(cfg.task)
    reporter = Reporter(cfg.progress, f"prepare {task.name}", key, 1)
    with store.claim(key) as finished:
        made = make(task, Path(cfg.data_dir), cutting_code(cfg.task))
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
    log.info("task %s: %s in %s", task.name, "prepared" if made else "already prepared", task.folder)
    reporter.finish()


def _picture(task: Task, folder: Path) -> Path:
    from benchmark.data.slices import three_slices, write_picture

    case = next(case for case in task.cases(Split.TRAIN) if bool(case.labels.any()))
    path = folder / f"{task.name}.png"
    write_picture(three_slices(case.image[0], case.labels), path)
    return path


main = entry_point("prepare", run)

if __name__ == "__main__":
    main()
