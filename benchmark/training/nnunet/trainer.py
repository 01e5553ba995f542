"""nnU-Net as the trainer: a source's network and weights in nnU-Net's own pipeline, its validation Dice as the truth.

The target is written as a raw dataset, fingerprinted, planned and preprocessed by nnU-Net (Isensee et al., Nature
Methods 2021); the pair's preparation decides intensities, axes and spacing. The network is the source's own, its head
new. What nnU-Net makes of the target is kept in `folder` and shared by every source and seed.
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
    """How long nnU-Net trains, and on what.

    Attributes:
        epochs: Epochs; the learning rate falls to 0 over them.
        iterations: Optimiser steps an epoch.
        validation_iterations: Batches of test cases whose loss nnU-Net looks at after each epoch; nothing depends on
            it, and it takes at least one.
        lr: First learning rate.
        patch: Voxels of a patch, in the order of the network's axes; the source's own, or as planned, by default.
        batch: Patches a step; as planned by default.
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
    """How nnU-Net makes the truth.

    Attributes:
        folder: Everything that nnU-Net writes.
        tune: What is tuned: all, decoder, last or head.
        planner: nnU-Net's experiment planner, called with a dataset's name.
        budget: How long, and on what.
        processes: Processes that plan, preprocess and export predictions.
        augment_processes: Processes that augment batches; 0 augments in this one, and only then do equal seeds give
            equal outcomes.
        keep_every: Seconds between two writes of a training's state, which is written at an epoch's end alone.
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
        """How often `report` is called."""
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
        """Fine-tune one source on one target with one seed; Dice is nnU-Net's own after the last step.

        Args:
            model: The source.
            target: The target; its split `train` is tuned on, `test` and `external` are predicted.
            preparation: How its volumes become the network's input.
            seed: Seed of the new head, the order of batches and the augmentation.
            device: Where it runs.
            report: Called after each step with the step and the loss.
            folder: Where it keeps its state, to go on from there, at an epoch, when it was stopped; None keeps none.
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
            asked = self.budget.patch or model.patch or plans["configurations"][configuration]["patch_size"]
            patch = model.arch.fit(asked)[-model.arch.dims :]
            plans = adapt(plans, configuration, preparation, patch=patch, batch=self.budget.batch)
            preprocess(space, dataset, plans, configuration)
            with seeded(seed) as seed_epoch:
                goes_on = partial(by_epochs, seed_epoch=seed_epoch, keeper=self.keeper(folder))
                return self._train(model, target, dataset, plans, place, seed, device, report, goes_on)

    def keeper(self, folder: Path | None) -> Keeper | None:
        """What keeps a training's state in a folder; None without one."""
        return Keeper(folder / "training.pt", every=self.keep_every) if folder else None

    def _run_name(self, model: Model, target: Task, preparation: Preparation, seed: int) -> str:
        settings = {name: value for name, value in asdict(self).items() if name not in {"folder", "keep_every"}}
        content = json.dumps([settings, asdict(preparation), target.digest()], sort_keys=True, default=str)
        return f"{model.name}_to_{target.name}_seed{seed}_{short_hash(content)}"

    def _train(  # noqa: PLR0917 - one caller, which made them all
        self, model: Model, target: Task, dataset: NnunetDataset, plans: Plans, place: Path, seed: int, device: str,
        report: Callable[[int, float], None], goes_on: Callable[[Any, list[float]], None],
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
        trainer.disable_checkpointing = True  # the weights are not needed afterwards, their Dice is
        set_budget(trainer, self.budget)
        goes_on(trainer, trainer.losses)
        trainer.run_training()
        found = {
            split: trainer.validate(fold, place / split)
            for fold, split in enumerate(split for split in HELD_OUT if target.has(split))
        }
        dice = {split: read_dice(folder, range(1, target.classes)) for split, folder in found.items()}
        examples = _examples(target, found["test"], dice["test"])
        return TrainingOutcome(dice["test"], dice.get("external", {}), trainer.losses, taken, examples)


def set_budget(trainer: Any, budget: NnunetBudget) -> None:
    """Give a trainer of nnU-Net its budget, before it is initialised."""
    trainer.num_epochs = budget.epochs
    trainer.num_iterations_per_epoch = budget.iterations
    trainer.num_val_iterations_per_epoch = budget.validation_iterations
    trainer.initial_lr = budget.lr


def read_dice(folder: Path, classes: Sequence[int]) -> dict[str, list[float]]:
    """Case -> Dice of each class, as nnU-Net's `summary.json` says.

    Args:
        folder: A validation folder.
        classes: Label values, in order.

    Returns:
        NaN where neither labels nor prediction hold the class; 0 where only one of them does.
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
