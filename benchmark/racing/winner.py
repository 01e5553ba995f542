"""The checkpoint of a race's winner, or of its leader so far: a source like any other, fine-tuned on the task."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from benchmark.core.torch_settings import training_settings
from benchmark.data.files.read_image import ending
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError, SkipPair, WriteError, one_line
from benchmark.jobs.cli import DISK
from benchmark.racing.job import RaceJob
from benchmark.sources.model import Model
from benchmark.sources.writers.nnunet import write_results_folder
from benchmark.sources.writers.own_format import write_source
from benchmark.tracking import Store
from benchmark.training.dice import mean_dice
from benchmark.training.resume import NoWeightsError, load_weights, state_path
from benchmark.training.trainer import Trainer

if TYPE_CHECKING:
    from benchmark.racing.halving import Race
    from benchmark.racing.runner import RaceRunner


def fine_tuned_model(job: RaceJob, trainer: Trainer, store: Store, *, dice: float) -> Model:
    """The network of a candidate as it was measured at a rung, as a source with the labels of the task.

    Args:
        job: The candidate, its rung, and where its state is.
        trainer: The trainer of the race.
        store: Where a source that a suite pre-trained is.
        dice: Its validation Dice at this rung.

    Raises:
        NoWeightsError: The weights of this rung are not on disk.
    """
    pair, target, steps = job.pair(store), job.target, trainer.rungs[job.rung]
    model = pair.model
    network = model.arch.build(channels=target.channels, classes=target.classes, seed=job.seed)
    load_weights(network, job.state, steps=steps)
    preparation, patch = trainer.trained_with(model, target, pair.preparation)
    facts = {
        "fine_tuned_from": job.name,
        "task": target.name,
        "steps": steps,
        "all_steps": trainer.steps,
        "seed": job.seed,
        "tune": trainer.tune,
        "validation_dice": dice,
        "cases": len(target.names(Split.TRAIN)),
    }
    how_far = "" if steps == trainer.steps else f" (stopped early, at {steps} of {trainer.steps} steps)"
    return replace(
        model,
        weights=network.state_dict(),
        channels=target.channels,
        classes=target.classes,
        labels=dict(target.labels),
        preparation=preparation,
        patch=patch,
        facts={**_plain(model), **facts},
        notes=(f"fine-tuned on {target.name} from {job.name}{how_far}",),
        head=True,
    )


def save_leader(race: "Race", runner: "RaceRunner", target: Task, *, device: str, deterministic: bool) -> list[str]:
    """Write the checkpoint of the race's leader and, for a network of nnU-Net's plans, a results folder of nnU-Net.

    Args:
        race: The race, of which at least one rung is finished.
        runner: Runs its jobs.
        target: The task.
        device: Device of the training.
        deterministic: As in `training_settings`.

    Returns:
        What was written, one line each, or why there is no results folder of nnU-Net.

    Raises:
        InputError: The network cannot be described in a sidecar, or the disk is full.
    """
    decision, name = race.decisions[-1], race.leader
    assert name is not None, "a race without a leader has nothing to save"
    by_seed = {seed: mean_dice(list(runner.trained[name, seed, decision.rung].dice.values())) for seed in runner.seeds}
    seed = max(by_seed, key=lambda seed: by_seed[seed])
    job = RaceJob(
        name=name,
        node=OmegaConf.create(dict(runner.plan.candidates[name])),
        target=target,
        preparation=runner.plan.preparation,
        rung=decision.rung,
        seed=seed,
        device=device,
        state=runner.state_folder(name, seed),
        output=runner.states.parents[1],
    )
    try:
        model = fine_tuned_model(job, runner.trainer, runner.store, dice=by_seed[seed])
    except NoWeightsError:
        runner.say(f"the weights of {name} at {job.rung} are gone or damaged, so it is trained up to there again")
        with training_settings(device, deterministic=deterministic):
            model = _trained_again(job, runner, dice=by_seed[seed])
    write_source(model, runner.checkpoint)
    of_seed = f", seed {seed}, the best of {len(by_seed)} on the validation cases" if len(by_seed) > 1 else ""
    lines = [f"checkpoint of {name}{of_seed}: {runner.checkpoint}"]
    return [*lines, *_nnunet_folder(model, runner, target)]


def _trained_again(job: RaceJob, runner: "RaceRunner", *, dice: float) -> Model:
    """The model of `fine_tuned_model` after another training, which gives the same bits; a state past it is kept."""
    job.state.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="again_", dir=job.state) as folder:
        if state_path(job.state).is_file():
            job = replace(job, state=Path(folder))
        pair, advance = job.pair(runner.store), runner.trainer.advance
        advance(pair.model, job.target, pair.preparation, rung=job.rung, seed=job.seed, device=job.device,
                folder=job.state)  # fmt: skip
        return fine_tuned_model(job, runner.trainer, runner.store, dice=dice)


def _nnunet_folder(model: Model, runner: "RaceRunner", target: Task) -> list[str]:
    """Write nnU-Net's results folder, replacing that of an earlier race; returns where it is, or why there is none."""
    place = runner.folder / "nnunet"
    shutil.rmtree(place, ignore_errors=True)
    letters = "".join(letter for letter in target.name.title() if letter.isalnum() and letter.isascii())
    flips = range(model.arch.dims) if getattr(runner.trainer, "mirroring", False) else ()
    first = target.listed(Split.TRAIN)[0]
    named: Mapping[str, str] = getattr(target, "channel_names", {})
    try:
        written = write_results_folder(
            model,
            place / f"Dataset001_{letters or 'Task'}",
            channel_names=[named[number] for number in map(str, range(len(named))) if number in named],
            ending=ending(first.images[0]),
            mirroring=tuple(flips),
            cases=len(target.names(Split.TRAIN)),
        )
    except (InputError, SkipPair) as error:
        if isinstance(error, WriteError) or getattr(error.__cause__, "errno", None) in DISK:
            raise
        return [f"no results folder of nnU-Net: {one_line(error)}"]
    if written.path is None:
        return [f"no results folder of nnU-Net: {written.reason}"]
    return [f"results folder of nnU-Net: {written.path}", *written.notes]


def _plain(model: Model) -> dict[str, object]:
    """The facts of the source that hold for the fine-tuned network, too."""
    return {name: value for name, value in model.facts.items() if name in {"architecture", "trainer"}}
