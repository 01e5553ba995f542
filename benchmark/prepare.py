"""Prepare tasks: fetch, cut and check data, draw a picture; `python -m benchmark.prepare -m task=liver,spleen`.

`python -m benchmark.prepare --clean` deletes the stored prepared cases that no running job uses.
"""

import logging
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.prepared.room import GIB
from benchmark.data.prepared.store import active_store
from benchmark.data.tasks.opening import cutting_code, make
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError, is_number
from benchmark.jobs.cli import entry_point, resolved
from benchmark.jobs.progress import Reporter
from benchmark.jobs.resources import work_folder
from benchmark.jobs.stage_keys import prepare_key
from benchmark.tracking.records import Data

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Prepare one task and log its picture; existing data are only checked. Or clean the prepared cases."""
    if cfg.clean is not None:
        _clean(cfg.clean)
        return
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


def _clean(keep_gib: float) -> None:
    store = active_store()
    if store is None or not is_number(keep_gib) or keep_gib < 0:
        raise InputError(f"clean must be a number of GiB, at least 0, got {keep_gib}")
    cases, size = store.clean(int(keep_gib * GIB))
    sizes = store.sizes()
    log.info("%s: deleted %d prepared cases (%.2f GiB), kept %d (%.2f GiB)", store.folder, cases, size / GIB,
             len(sizes), sum(sizes.values()) / GIB)  # fmt: skip


def _picture(task: Task, folder: Path) -> Path:
    from benchmark.data.slices import three_slices, write_picture

    only_sources = not task.has(Split.TRAIN) and task.has(Split.SOURCE_TRAIN)
    split = Split.SOURCE_TRAIN if only_sources else Split.TRAIN
    case = next(case for case in task.cases(split) if bool(case.labels.any()))
    path = folder / f"{task.name}.png"
    write_picture(three_slices(case.image[0], case.labels), path)
    return path


main = entry_point("prepare", run)

if __name__ == "__main__":
    main()
