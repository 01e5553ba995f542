"""nnU-Net trainer: fine-tunes a source's network in nnU-Net's own pipeline, whose validation Dice is the truth.

The target is written as a raw dataset, fingerprinted, planned and preprocessed by nnU-Net (Isensee et al., Nature
Methods 2021); intensities, axes and spacing follow the pair's preparation. The network is the source's, with a new
head. The preprocessed target is kept in `folder` and shared by all sources and seeds.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from benchmark.data.files.cases import Case
from benchmark.data.preprocessing.planning import Planner, Plans, preparation_from_plans
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError, SkipPair
from benchmark.sources.model import Model
from benchmark.sources.weights.match import Transfer, transfer
from benchmark.storage.files import read_json
from benchmark.training.dice import mean_dice
from benchmark.training.nnunet.dataset import (
    ENDING,
    NnunetDataset,
    NnunetSpace,
    short_hash,
    stored_as,
    write_dataset,
)
from benchmark.training.nnunet.plans import adapt, plan, preprocess
from benchmark.training.resume import Keeper, saved_losses, state_path
from benchmark.training.rungs import RungFile, race_rungs
from benchmark.training.trainer import PartialTraining, Rung, TrainingOutcome, check_tune, freeze

CONFIGURATIONS = {3: "3d_fullres", 2: "2d"}


@dataclass(frozen=True)
class NnunetBudget:
    """Training budget of nnU-Net.

    Attributes:
        epochs: Number of epochs, over which the learning rate decays to 0.
        iterations: Optimiser steps per epoch.
        validation_iterations: Batches of test cases per epoch for nnU-Net's validation loss, at least 1; no result
            depends on it.
        lr: Initial learning rate.
        patch: Voxels of a patch, in the order of the network's axes; by default the source's, or as planned.
        batch: Patches per step; as planned by default.
    """

    epochs: int = 1000
    iterations: int = 250
    validation_iterations: int = 1
    lr: float = 1e-2
    patch: tuple[int, ...] | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("iterations", "validation_iterations", "epochs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InputError(f"trainer.budget.{name} must be a whole number of at least 1, got {value}"
                                 + (f": steps must be a multiple of the {self.iterations} iterations of an epoch"
                                    if isinstance(value, float) else ""))  # fmt: skip


@dataclass(frozen=True)
class NnunetTrainer:
    """Fine-tuning with nnU-Net.

    Attributes:
        folder: Folder of everything that nnU-Net writes.
        tune: Part that is trained: all, decoder, last or head.
        planner: nnU-Net's experiment planner, called with a dataset's name.
        budget: Epochs, steps, patch and batch.
        processes: Number of processes for planning, preprocessing and export.
        augment_processes: Number of processes for augmentation; with 0 batches are augmented in this process, and only
            then do equal seeds give equal results.
        keep_every: Seconds between two saves of the training state, which happen only at the end of an epoch.
        mirroring: Whether to mirror patches in the augmentation and windows at prediction, along all axes.
    """

    folder: str | Path
    tune: str
    planner: Planner
    budget: NnunetBudget
    processes: int = 1
    augment_processes: int = 0
    keep_every: float = 300.0
    mirroring: bool = True

    def __post_init__(self) -> None:
        check_tune(self.tune)

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of `report`."""
        return self.budget.epochs * self.budget.iterations

    @property
    def moments(self) -> int:
        """Number of values that SGD keeps for each weight: its momentum."""
        return 1

    def precision(self, device: str) -> str:
        """Number format of the forward passes, which nnU-Net chooses by the device."""
        return "float16" if torch.device(device).type == "cuda" else "float32"

    def fine_tune(
        self,
        model: Model,
        target: Task,
        preparation: Preparation,
        *,
        seed: int,
        device: str = "cpu",
        report: Callable[[int, float], None] = lambda step, loss: None,
        folder: Path | None = None,
    ) -> TrainingOutcome:
        """Fine-tune a source on a target; arguments as in `Trainer`, and Dice is that of nnU-Net's validation.

        The state is saved only at the end of an epoch. Nothing is measured before the last one, so the outcome has no
        rungs, and validation cases of the target are not used.
        """
        held_out = [split for split in (Split.TEST, Split.EXTERNAL) if target.has(split)]
        done = self._run(
            model, target, preparation, held_out=held_out, seed=seed, device=device, report=report, folder=folder
        )
        dice = {split: read_dice(place, range(1, target.classes)) for split, place in done.predicted.items()}
        stored = stored_as(preparation.orientation)
        examples = _examples(target, stored, done.predicted[Split.TEST], dice[Split.TEST])
        return TrainingOutcome(dice[Split.TEST], dice.get(Split.EXTERNAL, {}), done.losses, done.taken, examples)

    @property
    def rungs(self) -> dict[str, int]:
        """Rung -> the step after which a race measures the validation cases, at the end of an epoch."""
        return {name: epochs * self.budget.iterations for name, epochs in race_rungs(self.budget.epochs).items()}

    def advance(
        self,
        model: Model,
        target: Task,
        preparation: Preparation,
        *,
        rung: str,
        seed: int,
        device: str = "cpu",
        report: Callable[[int, float], None] = lambda step, loss: None,
        folder: Path,
    ) -> PartialTraining:
        """Fine-tune a source on a target up to a rung; arguments as in `Trainer`.

        A saved state that is past the rung is used only if the rung was measured on the way; otherwise training starts
        from the source again.
        """
        measured = RungFile(folder / "rungs.json")
        known, steps = measured.read(), self.rungs[rung]
        losses = saved_losses(state_path(folder))
        if rung not in known and len(losses) > steps:
            state_path(folder).unlink()
        done = self._run(
            model, target, preparation, held_out=[Split.VALIDATION], seed=seed, device=device, report=report,
            folder=folder, until=max(steps, len(losses) if rung in known else 0) // self.budget.iterations,
        )  # fmt: skip
        if rung not in known:
            dice = read_dice(done.predicted[Split.VALIDATION], range(1, target.classes))
            known[rung] = Rung(steps, dice, done.seconds + done.validation_seconds, done.validation_seconds)
            measured.write(known)
        shutil.rmtree(self._run_folder(model, target, preparation, seed))  # predictions and nnU-Net's own log
        return PartialTraining(done.losses[:steps], done.taken, known[rung])

    def trained_with(self, model: Model, target: Task, preparation: Preparation) -> tuple[Preparation, tuple[int, ...]]:
        """The preparation of nnU-Net's plans, adapted to the pair, and their patch."""
        held_out = [split for split in (Split.VALIDATION, Split.TEST) if target.has(split)][:1]
        with self.space.entered(self.space.root / "log.txt"):
            dataset = write_dataset(
                target, self.space, train=Split.TRAIN, held_out=held_out, orientation=preparation.orientation
            )
            plans = self._plans(model, target, preparation, dataset)
        configuration = CONFIGURATIONS[model.arch.dims]
        planned = preparation_from_plans(plans, configuration)
        patch = tuple(int(side) for side in plans["configurations"][configuration]["patch_size"])
        return replace(planned, orientation=preparation.orientation), model.arch.fit(patch)

    def _run(
        self,
        model: Model,
        target: Task,
        preparation: Preparation,
        *,
        held_out: Sequence[Split],
        seed: int,
        device: str,
        report: Callable[[int, float], None],
        folder: Path | None,
        until: int | None = None,
    ) -> "_NnunetRun":
        """Plan, preprocess, train up to an epoch and predict the held-out splits."""
        space, place = self.space, self._run_folder(model, target, preparation, seed)
        shutil.rmtree(place, ignore_errors=True)
        with space.entered(place / "log.txt", results=place / "results"):
            from benchmark.training.nnunet.loop import by_epochs, seeded

            orientation = preparation.orientation
            dataset = write_dataset(target, space, train=Split.TRAIN, held_out=held_out, orientation=orientation)
            plans = self._plans(model, target, preparation, dataset)
            with seeded(seed) as seed_epoch:
                trainer, taken = self._trainer(model, target, dataset, plans, seed=seed, device=device)
                keeper = self.keeper(folder)
                progress = by_epochs(trainer, report=report, seed_epoch=seed_epoch, keeper=keeper, until=until)
                trainer.run_training()
                start = time.perf_counter()
                predicted = {split: trainer.validate(fold, place / split) for fold, split in enumerate(held_out)}
                measuring = time.perf_counter() - start
        return _NnunetRun(progress.losses, progress.seconds, taken, predicted, measuring)

    @property
    def space(self) -> NnunetSpace:
        """nnU-Net's folders and numbers of processes."""
        return NnunetSpace(Path(self.folder), self.processes, self.augment_processes)

    def keeper(self, folder: Path | None) -> Keeper | None:
        """The keeper of the training state in a folder; None without a folder."""
        return Keeper(state_path(folder), every=self.keep_every) if folder else None

    def _run_folder(self, model: Model, target: Task, preparation: Preparation, seed: int) -> Path:
        settings = {name: value for name, value in asdict(self).items() if name not in {"folder", "keep_every"}}
        content = json.dumps([settings, asdict(preparation), target.digest()], sort_keys=True, default=str)
        return self.space.root / "runs" / f"{model.name}_to_{target.name}_seed{seed}_{short_hash(content)}"

    def _plans(self, model: Model, target: Task, preparation: Preparation, dataset: NnunetDataset) -> Plans:
        """The target's plans, adapted to the pair, by which the dataset is preprocessed."""
        plans, configuration = plan(self.space, dataset, self.planner), CONFIGURATIONS[model.arch.dims]
        if configuration not in plans["configurations"]:
            raise SkipPair(f"nnU-Net plans no {configuration} for {target.name}, as {model.name} would need")
        wanted = self.budget.patch or model.patch or plans["configurations"][configuration]["patch_size"]
        patch = model.arch.fit(wanted)[-model.arch.dims :]
        plans = adapt(plans, configuration, preparation, patch=patch, batch=self.budget.batch)
        preprocess(self.space, dataset, plans, configuration)
        return plans

    def _trainer(
        self, model: Model, target: Task, dataset: NnunetDataset, plans: Plans, *, seed: int, device: str
    ) -> tuple[Any, Transfer]:
        """nnU-Net's trainer of the source's network, and which weights were loaded."""
        from benchmark.training.nnunet.loop import NetworkTrainer

        trainer = new_trainer(
            NetworkTrainer, dataset, plans, CONFIGURATIONS[model.arch.dims], settings=self, device=device
        )
        heads = trainer.label_manager.num_segmentation_heads
        network = model.arch.build(channels=target.channels, classes=heads, seed=seed, device=device)
        taken = transfer(network, model.weights, head=model.arch.head)
        freeze(network, model.arch, tune=self.tune)
        trainer.give(network, dims=model.arch.dims)
        return trainer, taken


@dataclass(frozen=True)
class _NnunetRun:
    """What a run of nnU-Net's trainer gave.

    Attributes:
        losses: The loss at each step.
        seconds: Duration of all epochs, also of those before an interruption, without planning and preprocessing.
        taken: Which weights were loaded.
        predicted: Split -> folder of its predictions.
        validation_seconds: Duration of predicting and measuring these splits.
    """

    losses: Sequence[float]
    seconds: float
    taken: Transfer
    predicted: Mapping[Split, Path]
    validation_seconds: float


def new_trainer(
    cls: type, dataset: NnunetDataset, plans: Plans, configuration: str, *, settings: NnunetTrainer, device: str
) -> Any:
    """Construct one of nnU-Net's trainers for the first fold, with the budget and mirroring of the settings."""
    from benchmark.training.nnunet.loop import without_mirroring

    budget = settings.budget
    trainer = cls({**plans, "continue_training": False}, configuration, 0, dataset.description, torch.device(device))
    trainer.num_epochs = budget.epochs
    trainer.num_iterations_per_epoch = budget.iterations
    trainer.num_val_iterations_per_epoch = budget.validation_iterations
    trainer.initial_lr = budget.lr
    if not settings.mirroring:
        without_mirroring(trainer)
    return trainer


def read_dice(folder: Path, classes: Sequence[int]) -> dict[str, list[float]]:
    """Read the Dice of each case from the `summary.json` in a validation folder of nnU-Net.

    Returns:
        Case -> Dice of each class; NaN if the class is in neither labels nor prediction, 0 if in only one of them.
    """
    cases = read_json(folder / "summary.json")["metric_per_case"]
    values = np.array([[case["metrics"][str(label)]["Dice"] for label in classes] for case in cases], dtype=float)
    names = [Path(case["reference_file"]).name.removesuffix(ENDING) for case in cases]
    return dict(zip(names, values.tolist(), strict=True))  # None has become NaN


def _examples(
    target: Task, preparation: Preparation, folder: Path, dice: Mapping[str, Sequence[float]]
) -> dict[str, tuple[Case, Tensor]]:
    order = sorted(dice, key=lambda name: mean_dice([dice[name]]))
    cases, places = target.cases(Split.TEST, preparation), target.names(Split.TEST)
    examples = {}
    for kind, name in (("worst", order[0]), ("best", order[-1])):
        predicted = np.asarray(nib.load(folder / f"{name}{ENDING}").dataobj, dtype=np.uint8)
        examples[kind] = cases[places.index(name)], torch.from_numpy(predicted)
    return examples
