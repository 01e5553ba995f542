"""Train a source with nnU-Net; `python -m benchmark.pretrain_nnunet task=liver target=spleen`.

The target's plans are moved to the task, as nnU-Net's maintainers advise before pre-training; with
`pretraining.target=null` the task's own plans are used. The output is a results folder like that of nnU-Net's own
command line, for `source=nnunet source.path=FOLDER`.
"""

import logging
import shutil
import time
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.core.torch_settings import training_settings
from benchmark.jobs.cli import entry_point, resolved
from benchmark.jobs.keys import job_key, targets
from benchmark.jobs.progress import Reporter
from benchmark.tracking import Store
from benchmark.training.nnunet.pretraining import NnunetPretraining, pretrain

log = logging.getLogger(__name__)


def nnunet_key(cfg: DictConfig) -> str:
    """The key of the job, which includes the data of the task and of the target whose plans are used."""
    settings = resolved(cfg.pretraining)
    source: NnunetPretraining = instantiate(cfg.pretraining)
    data = [task.digest() if task else None for task in (source.task, source.target)]
    return job_key("pretrain", "benchmark.pretrain_nnunet", {"source": settings, "data": data}, code=targets(settings))


def run(cfg: DictConfig) -> None:
    """Train the source, unless the store has a finished run with its key and its folder exists."""
    store: Store = instantiate(cfg.tracking)
    source: NnunetPretraining = instantiate(cfg.pretraining)
    key = nnunet_key(cfg)
    reporter = Reporter(cfg.progress, f"pretrain {source.name}", key, source.steps)
    with store.claim(key) as finished:
        if finished is None or not Path(finished.tags["folder"]).is_dir():
            with training_settings(cfg.device.name, deterministic=cfg.device.deterministic):
                _pretrain(cfg, store, source, key=key, reporter=reporter)
        else:
            log.info("source %s: already finished, in %s", source.name, finished.tags["folder"])
    reporter.finish()


def _pretrain(cfg: DictConfig, store: Store, source: NnunetPretraining, *, key: str, reporter: Reporter) -> None:
    device, deterministic = cfg.device.name, cfg.device.deterministic
    params = {"source": source.name, "task": source.task.name, "arch": "nnunet", "length": "long",
              "device.name": device, "device.deterministic": deterministic,
              "seed": source.seed, "steps": source.steps, "plans": (source.target or source.task).name}  # fmt: skip
    with store.run(
        "pretrain", key, source.name, params=params, config=resolved(cfg.pretraining), suite=cfg.suite.name
    ) as run:
        start = time.perf_counter()
        place = Path(cfg.output_dir) / "training" / key[:32]
        done = pretrain(source, device=device, report=reporter.step, folder=place)
        run.curve("loss", done.losses)
        run.log(
            params={"width": done.width},
            metrics={"dice": done.dice, "parameters": done.parameters, "cases": done.cases,
                     "seconds": time.perf_counter() - start},
            tags={"folder": str(done.folder.resolve())},
        )  # fmt: skip
        for name in ("plans.json", "dataset.json"):
            run.file(done.folder / name)
    shutil.rmtree(place, ignore_errors=True)
    log.info("source %s: validation Dice %.3f, in %s", source.name, done.dice, done.folder)


main = entry_point("pretrain_nnunet", run)

if __name__ == "__main__":
    main()
