"""Fine-tune a source on a target for the true Dice; `python -m benchmark.truth -m source=a,b target=c,d`."""

import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.core.torch_settings import training_settings
from benchmark.data.slices import three_slices, write_picture
from benchmark.data.tasks.opening import prepared
from benchmark.data.tasks.task import Task
from benchmark.errors import SkipPair
from benchmark.jobs.cli import entry_point, resolved, settings_of
from benchmark.jobs.progress import Reporter
from benchmark.jobs.resources import peak_memory, reset_peak_memory
from benchmark.jobs.stage_keys import truth_keys
from benchmark.sources.model import Model
from benchmark.sources.opening import open_source
from benchmark.sources.pairing import paired
from benchmark.tracking import Store
from benchmark.tracking.outbox import Draft
from benchmark.tracking.records import REASON, SECONDS, VALIDATION_DICE, Data
from benchmark.training.dice import mean_dice
from benchmark.training.trainer import Trainer, TrainingOutcome

PARTS = ("source", "target", "trainer", "preparation")  # parts of the config that are saved with a run
log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Fine-tune with every seed that has no finished run yet, and write one run per seed."""
    store: Store = instantiate(cfg.tracking)
    target = prepared(cfg.target, cfg.data_dir)
    keys = truth_keys(cfg)
    trainer: Trainer = instantiate(cfg.trainer)
    model = open_source(cfg.source, store, Path(cfg.output_dir))
    device, deterministic = cfg.device.name, cfg.device.deterministic
    for seed, key in keys.items():
        name = f"{model.name} to {target.name}, seed {seed}"
        reporter = Reporter(cfg.progress, name, key, trainer.steps)
        with store.claim(key) as finished, training_settings(device, deterministic=deterministic):
            if finished is None:
                config = {part: resolved(cfg[part]) for part in PARTS} | {"seed": seed}
                params = {"source": model.name, "target": target.name, "seed": seed, "tune": trainer.tune}
                params |= settings_of(config) | {"trainer.amp": trainer.precision(device)}
                params |= {"device.name": device, "device.deterministic": deterministic}
                place = Path(cfg.output_dir) / "training" / key[:32]
                with store.run("truth", key, name, params=params, config=config, suite=cfg.suite.name) as tracked:
                    tracked.log(tags={"variant": cfg.variant} if cfg.variant else {})
                    tracked.describe(
                        f"The source **{model.name}**, fine-tuned on the target **{target.name}** with seed {seed} "
                        f"(tuned: {trainer.tune}); Dice on the test cases.",
                        [Data(target.name, target.digest(), target.folder, "target")],
                    )
                    tune = partial(trainer.fine_tune, seed=seed, device=device, report=reporter.step)
                    _measure(tracked, partial(tune, folder=place), model, target, preparation=resolved(cfg.preparation))
                shutil.rmtree(place, ignore_errors=True)
        reporter.finish()


def _measure(
    tracked: Draft, tune: partial[TrainingOutcome], model: Model, target: Task, *, preparation: Mapping[str, str]
) -> None:
    device = tune.keywords["device"]
    reset_peak_memory(device)
    start = time.perf_counter()
    try:
        pair = paired(model, target, **preparation)
        tracked.log(tags={"notes": "; ".join(pair.model.notes)} if pair.model.notes else {})
        done = tune(pair.model, target, pair.preparation)
    except SkipPair as skip:
        tracked.log(metrics={"dice": math.nan}, tags={"skipped": str(skip), f"{REASON}dice": str(skip)})
        log.info("%s to %s: skipped, %s", model.name, target.name, skip)
        return
    seconds = time.perf_counter() - start
    _log(tracked, done, target)
    tracked.log(metrics={"seconds": seconds, "peak_memory_mb": peak_memory(device)})
    dice = mean_dice(list(done.dice.values()))
    log.info("%s to %s, seed %s: Dice %.3f (%s)", model.name, target.name, tune.keywords["seed"], dice, done.transfer)


def _log(tracked: Draft, done: TrainingOutcome, target: Task) -> None:
    cases = list(done.dice.values())
    metrics = {"dice": mean_dice(cases), "loaded": len(done.transfer.loaded), "fresh": len(done.transfer.fresh)}
    names = {index: name for index, name in sorted(target.labels.items()) if index}
    metrics |= {f"dice/{name}": mean_dice([[case[index - 1]] for case in cases]) for index, name in names.items()}
    if done.external:
        metrics["external_dice"] = mean_dice(list(done.external.values()))
    empty = math.isnan(metrics["dice"])
    tracked.log(metrics=metrics, tags={f"{REASON}dice": "no test case holds a foreground voxel"} if empty else {})
    _log_rungs(tracked, done)
    tracked.curve("loss", done.losses)

    def named(dice: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        return {case: dict(zip(names.values(), values, strict=True)) for case, values in dice.items()}

    rungs = {rung: named(measured.dice) for rung, measured in done.rungs.items()}
    tracked.json({"test": named(done.dice), "external": named(done.external), "validation": rungs}, "dice.json")
    tracked.json({part: getattr(done.transfer, part) for part in ("loaded", "fresh", "unused")}, "transfer.json")
    pictures = tracked.place("pictures")
    for kind, (case, predicted) in done.examples.items():
        picture = three_slices(case.image[0], case.labels, predicted)
        write_picture(picture, pictures / f"{kind}_{case.name}_dice{mean_dice([done.dice[case.name]]):.3f}.png")


def _log_rungs(tracked: Draft, done: TrainingOutcome) -> None:
    for rung, measured in done.rungs.items():
        name, dice = f"{VALIDATION_DICE}{rung}", mean_dice(list(measured.dice.values()))
        reason = {f"{REASON}{name}": "no validation case holds a foreground voxel"} if math.isnan(dice) else {}
        tracked.log(metrics={name: dice, f"{SECONDS}{name}": measured.seconds}, tags=reason)


main = entry_point("truth", run)

if __name__ == "__main__":
    main()
