"""nnU-Net trainer: fine-tunes a source's network in nnU-Net's own pipeline, whose validation Dice is the truth.

The target is written as a raw dataset, fingerprinted, planned and preprocessed by nnU-Net (Isensee et al., Nature
Methods 2021); intensities, axes and spacing follow the pair's preparation. The network is the source's, with a new
head. The preprocessed target is kept in `folder` and shared by all sources and seeds.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError, SkipPair
from benchmark.sources.model import Model
from benchmark.sources.weights.transfer import transfer
from benchmark.training.dice import mean_dice
from benchmark.training.freeze import freeze
from benchmark.training.nnunet.dataset import ENDING, STORED, NnunetDataset, write_dataset
from benchmark.training.nnunet.environment import NnunetSpace, seeded, short_hash
from benchmark.training.nnunet.plans import Plans, adapt, plan, preprocess
from benchmark.training.nnunet.resume import by_epochs
from benchmark.training.resume import Keeper
from benchmark.training.trainer import TrainingOutcome

HELD_OUT = ("test", "external")
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
        for name in ("epochs", "iterations", "validation_iterations"):
            if getattr(self, name) < 1:
                raise InputError(f"trainer.budget.{name} must be at least 1, got {getattr(self, name)}")


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
    """

    folder: str | Path
    tune: str
    planner: Callable[[str], Any]
    budget: NnunetBudget
    processes: int = 1
    augment_processes: int = 0
    keep_every: float = 300.0

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of `report`."""
        return self.budget.epochs * self.budget.iterations

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
        """Fine-tune a source on a target with one seed; Dice is nnU-Net's validation Dice after the last step.

        Args:
            model: The source.
            target: The target; trained on the split `train`, measured on `test` and `external`.
            preparation: How volumes are prepared for the network.
            seed: Seed of the new head, the order of batches and the augmentation.
            device: Device of the training.
            report: Called after each step with the step and the loss.
            folder: Where the state is saved at an epoch's end to resume an interrupted training; None saves nothing.
        """
        space = NnunetSpace(Path(self.folder), self.processes, self.augment_processes)
        held_out = [split for split in HELD_OUT if target.has(split)]
        place = space.root / "runs" / self._run_name(model, target, preparation, seed)
        shutil.rmtree(place, ignore_errors=True)
        with space.entered(place / "log.txt", results=place / "results"):
            dataset = write_dataset(target, space, train="train", held_out=held_out)
            plans = plan(space, dataset, self.planner)
            configuration = CONFIGURATIONS[model.arch.dims]
            if configuration not in plans["configurations"]:
                raise SkipPair(f"nnU-Net plans no {configuration} for {target.name}, as {model.name} would need")
            wanted = self.budget.patch or model.patch or plans["configurations"][configuration]["patch_size"]
            patch = model.arch.fit(wanted)[-model.arch.dims :]
            plans = adapt(plans, configuration, preparation, patch=patch, batch=self.budget.batch)
            preprocess(space, dataset, plans, configuration)
            with seeded(seed) as seed_epoch:
                resume = partial(by_epochs, seed_epoch=seed_epoch, keeper=self.keeper(folder))
                return self._train(model, target, dataset, plans, place, seed, device, report, resume)

    def keeper(self, folder: Path | None) -> Keeper | None:
        """The keeper of the training state in a folder; None without a folder."""
        return Keeper(folder / "training.pt", every=self.keep_every) if folder else None

    def _run_name(self, model: Model, target: Task, preparation: Preparation, seed: int) -> str:
        settings = {name: value for name, value in asdict(self).items() if name not in {"folder", "keep_every"}}
        content = json.dumps([settings, asdict(preparation), target.digest()], sort_keys=True, default=str)
        return f"{model.name}_to_{target.name}_seed{seed}_{short_hash(content)}"

    def _train(  # noqa: PLR0917 - has a single caller
        self, model: Model, target: Task, dataset: NnunetDataset, plans: Plans, place: Path, seed: int, device: str,
        report: Callable[[int, float], None], resume: Callable[[Any, list[float]], None],
    ) -> TrainingOutcome:  # fmt: skip
        from benchmark.training.nnunet.loop import FineTuningTrainer, Slices, is_supervised_deeply

        trainer = FineTuningTrainer(
            {**plans, "continue_training": False},
            CONFIGURATIONS[model.arch.dims],
            0,
            dataset.description,
            torch.device(device),
        )
        heads = trainer.label_manager.num_segmentation_heads
        network = model.arch.build(channels=target.channels, classes=heads, seed=seed, device=device)
        taken = transfer(network, model.weights, head=model.arch.head)
        freeze(network, model.arch, tune=self.tune)
        trainer.given = Slices(network) if model.arch.dims == 2 else network
        trainer.report, trainer.losses = report, []
        trainer.enable_deep_supervision = is_supervised_deeply(trainer.given)
        trainer.disable_checkpointing = True  # only the Dice is needed, not the weights
        set_budget(trainer, self.budget)
        resume(trainer, trainer.losses)
        trainer.run_training()
        folders = {
            split: trainer.validate(fold, place / split)
            for fold, split in enumerate(split for split in HELD_OUT if target.has(split))
        }
        dice = {split: read_dice(folder, range(1, target.classes)) for split, folder in folders.items()}
        examples = _examples(target, folders["test"], dice["test"])
        return TrainingOutcome(dice["test"], dice.get("external", {}), trainer.losses, taken, examples)


def set_budget(trainer: Any, budget: NnunetBudget) -> None:
    """Set the budget of an nnU-Net trainer before it is initialised."""
    trainer.num_epochs = budget.epochs
    trainer.num_iterations_per_epoch = budget.iterations
    trainer.num_val_iterations_per_epoch = budget.validation_iterations
    trainer.initial_lr = budget.lr


def read_dice(folder: Path, classes: Sequence[int]) -> dict[str, list[float]]:
    """Read the Dice of each class and case from nnU-Net's `summary.json`.

    Args:
        folder: A validation folder.
        classes: Label values, in order.

    Returns:
        Case -> Dice of each class; NaN if the class is in neither labels nor prediction, 0 if in only one of them.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {
        Path(case["reference_file"]).name.removesuffix(ENDING): [
            float(math.nan if (value := case["metrics"][str(label)]["Dice"]) is None else value) for label in classes
        ]
        for case in summary["metric_per_case"]
    }


def _examples(target: Task, folder: Path, dice: Mapping[str, Sequence[float]]) -> dict[str, tuple[Case, Tensor]]:
    order = sorted(dice, key=lambda name: mean_dice([dice[name]]))
    wanted = {"worst": order[0], "best": order[-1]}
    cases, places = target.cases("test", STORED), target.names("test")
    return {
        kind: (
            cases[places.index(name)],
            torch.from_numpy(np.asarray(nib.load(folder / f"{name}{ENDING}").dataobj, dtype=np.uint8)),
        )
        for kind, name in wanted.items()
    }
