"""Pre-train one source model; `python -m benchmark.pretrain -m source=liver_unet,lung_unet`."""

import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.core.torch_settings import training_settings
from benchmark.data.prepared.cases import prepare_together
from benchmark.jobs.cli import entry_point, resolved, settings_of
from benchmark.jobs.progress import Reporter
from benchmark.jobs.provenance import provenance
from benchmark.jobs.resources import work_folder
from benchmark.jobs.stage_keys import pretrain_key
from benchmark.sources.pretrained import PoolSource, Pretrained
from benchmark.sources.weights.checkpoint import save_checkpoint
from benchmark.tracking import Store
from benchmark.tracking.records import REASON, Data
from benchmark.training.dice import case_dice, mean_dice
from benchmark.training.loop import train
from benchmark.training.precision import choose_precision
from benchmark.training.prediction import predict
from benchmark.training.resume import Keeper, state_path

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Pre-train the source, unless the store has a finished run with its key."""
    store: Store = instantiate(cfg.tracking)
    source: PoolSource = instantiate(cfg.source)
    key = pretrain_key(cfg.source)
    reporter = Reporter(cfg.progress, f"pretrain {source.name}", key, max(1, source.budget.steps))
    with store.claim(key) as finished:
        if finished is None:
            with training_settings(cfg.device.name, deterministic=cfg.device.deterministic):
                _pretrain(cfg, store, source, key=key, reporter=reporter)
        else:
            log.info("source %s: already finished", source.name)
    reporter.finish()


def _pretrain(cfg: DictConfig, store: Store, source: PoolSource, *, key: str, reporter: Reporter) -> None:
    params = {"source": source.name, "task": source.task.name if source.task else "none", "arch": source.arch.name,
              "width": source.arch.width, "length": source.length, "seed": source.seed,
              "steps": source.budget.steps} | settings_of({"source": resolved(cfg.source)})  # fmt: skip
    device = cfg.device.name
    if source.trainer:
        precision = source.trainer.precision(device)
    else:
        precision = choose_precision(source.amp, device, setting="source.amp")
    params |= {"source.amp": precision, "device.name": device, "device.deterministic": cfg.device.deterministic}
    with store.run(
        "pretrain", key, source.name, params=params, config=resolved(cfg.source), suite=cfg.suite.name
    ) as run:
        run.describe(
            f"The source **{source.name}**, pre-trained on **{params['task']}**; Dice on held-out cases of that task.",
            [Data(source.task.name, source.task.digest(), source.task.folder, "source")] if source.task else [],
        )
        start = time.perf_counter()
        place = Path(cfg.output_dir) / "training" / key[:32]
        done = _train(source, device, reporter, place)
        run.log(metrics={
            "dice": done.dice,
            "parameters": sum(p.numel() for p in done.network.parameters()),
            "cases": len(source.task.names(source.splits[0])) if source.task and source.budget.steps else 0,
            "classes": source.task.classes - 1 if source.task and source.budget.steps else 0,  # of the foreground
            "seconds": time.perf_counter() - start,
        })  # fmt: skip
        run.curve("loss", done.losses)
        if math.isnan(done.dice):
            run.log(tags={f"{REASON}dice": "initial weights, trained on no task"})
        with work_folder(cfg.output_dir, key) as folder:
            save_checkpoint(done.network, _facts(cfg.source, source), folder / "source")
            run.file(folder / "source", "source")
    shutil.rmtree(place, ignore_errors=True)
    log.info("source %s: validation Dice %.3f", source.name, done.dice)


def _train(source: PoolSource, device: str, reporter: Reporter, place: Path) -> Pretrained:
    """Train the network of a source; an interrupted training resumes from the state in `place`."""
    if source.trainer and source.task and source.budget.steps:
        name = f"{source.name}_{place.name[:8]}"
        return source.trainer.train(source, name=name, device=device, report=reporter.step, folder=place)
    network = source.arch.build(channels=source.channels, classes=source.classes, seed=source.seed, device=device)
    if source.task is None or source.budget.steps == 0:
        return Pretrained(network, [], math.nan)
    precision, keeper = choose_precision(source.amp, device, setting="source.amp"), Keeper(state_path(place))
    cases, held_out = (source.task.cases(split) for split in source.splits)
    prepare_together([cases, held_out])
    training = partial(train, budget=source.budget, seed=source.seed, precision=precision)
    losses = training(network, cases, report=reporter.step, keeper=keeper)
    predictions = predict(
        network, held_out.readers(), window=source.window or cases.reader(0).shape, precision=precision
    )
    dice = [case_dice(labels, case.labels, classes=source.classes) for case, labels in predictions]
    return Pretrained(network, losses, mean_dice(dice))


def _facts(node: DictConfig, source: PoolSource) -> Mapping[str, object]:
    config = resolved(node)
    spacing = source.task.first_case(source.splits[0]).spacing if source.task else None
    return {
        "name": source.name,
        "architecture": config["arch"],
        "channels": source.channels,
        "classes": source.classes,
        "labels": {str(value): name for value, name in source.labels.items()},
        "spacing": spacing,
        "preparation": asdict(source.task.preparation) if source.task else None,
        "taps": list(source.arch.taps),
        "config": config,
        "git_commit": provenance().tags["git_commit"],
        "data_digest": source.task.digest() if source.task else None,
    }


main = entry_point("pretrain", run)

if __name__ == "__main__":
    main()
