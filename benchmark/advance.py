"""Train one candidate of a race up to a rung; the jobs of `python -m benchmark.race` run this command."""

import logging
from collections.abc import Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.core.torch_settings import training_settings
from benchmark.data.tasks.opening import prepared
from benchmark.errors import InputError, is_whole
from benchmark.jobs.cli import entry_point, settings_of
from benchmark.jobs.progress import Reporter
from benchmark.racing.job import RaceJob
from benchmark.racing.plan import RacePlan
from benchmark.tracking import Store
from benchmark.tracking.records import Stage
from benchmark.training.trainer import Trainer

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Train the candidate, unless the store has a finished run with its key."""
    plan = RacePlan.read(Path(cfg.race))
    store: Store = instantiate(cfg.tracking)
    trainer: Trainer = instantiate(OmegaConf.create(dict(plan.trainer)))
    name = _candidate(cfg.candidate, list(plan.candidates))
    if cfg.rung not in trainer.rungs:
        raise InputError(f"rung must be one of {', '.join(trainer.rungs)}, got {cfg.rung}")
    target = prepared(OmegaConf.create(dict(plan.task)), cfg.data_dir)
    seed, device = int(cfg.seed), cfg.device.name
    data = target.digest()
    output = Path(cfg.output_dir).absolute()  # a network's code may change the working directory
    job = RaceJob(
        name=name,
        node=OmegaConf.create(dict(plan.candidates[name])),
        target=target,
        preparation=plan.preparation,
        rung=cfg.rung,
        seed=seed,
        device=device,
        state=output / "race" / "states" / plan.state_key(name, seed=seed, data=data)[:32],
        output=output,
    )
    key = plan.job_key(name, seed=seed, data=data, rung=cfg.rung)
    title = f"{name} up to {cfg.rung}, seed {seed}"
    reporter = Reporter(cfg.progress, title, key, trainer.rungs[cfg.rung])
    with store.claim(key) as finished, training_settings(device, deterministic=cfg.device.deterministic):
        if finished is None:
            config = {"trainer": dict(plan.trainer), "preparation": dict(plan.preparation), "target": dict(plan.task),
                      "source": dict(plan.candidates[name]), "seed": seed, "rung": cfg.rung}  # fmt: skip
            params = {"source": name, "target": target.name, "seed": seed, "rung": cfg.rung, "tune": trainer.tune}
            params |= settings_of(config) | {"trainer.amp": trainer.precision(device), "device.name": device}
            with store.run(Stage.RACE, key, title, params=params, config=config, suite="race") as draft:
                reason = job.run(trainer, store, draft, report=reporter.step)
            log.info("%s: %s", title, f"failed, {reason}" if reason else "done")
    reporter.finish()


def _candidate(place: object, names: Sequence[str]) -> str:
    if not is_whole(place, least=0) or place >= len(names):
        raise InputError(f"candidate must be a whole number from 0 to {len(names) - 1}, got {place}")
    return names[place]


main = entry_point("advance", run)

if __name__ == "__main__":
    main()
