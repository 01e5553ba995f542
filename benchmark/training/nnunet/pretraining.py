"""Train a source with nnU-Net, which leaves a results folder like nnU-Net's own command line."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmark.data.tasks.task import Task
from benchmark.training.dice import mean_dice
from benchmark.training.nnunet.dataset import NnunetDataset, write_dataset
from benchmark.training.nnunet.environment import NnunetSpace, seeded
from benchmark.training.nnunet.plans import Plans, adapt, move, plan, preprocess
from benchmark.training.nnunet.resume import by_epochs
from benchmark.training.nnunet.trainer import NnunetTrainer, read_dice, set_budget


@dataclass(frozen=True)
class NnunetPretraining:
    """Settings of a source that nnU-Net trains.

    Attributes:
        name: The source's name.
        task: The task to train on.
        target: The task whose plans are used, as nnU-Net's maintainers advise for a network that will be fine-tuned
            there; None for the plans of `task`.
        trainer: Planner, budget and folder.
        configuration: 3d_fullres, 2d and so on.
        features: Channels of the network's stages; as planned by default.
        seed: Seed of initial weights, batches and augmentation.
    """

    name: str
    task: Task
    target: Task | None
    trainer: NnunetTrainer
    configuration: str = "3d_fullres"
    features: tuple[int, ...] | None = None
    seed: int = 0

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of `report`."""
        return self.trainer.steps

    @property
    def results(self) -> Path:
        """The results folder of this source."""
        return Path(self.trainer.folder) / "sources" / self.name


@dataclass(frozen=True)
class NnunetTrained:
    """A model trained by nnU-Net.

    Attributes:
        folder: The trained model's folder, with plans.json, dataset.json and fold_0.
        losses: The loss at each step.
        dice: Mean Dice of the validation cases.
        cases: Number of training cases.
        parameters: Number of parameters of the network.
        width: Channels of its finest stage.
    """

    folder: Path
    losses: Sequence[float]
    dice: float
    cases: int
    parameters: int
    width: int


def pretrain(
    source: NnunetPretraining,
    *,
    device: str = "cpu",
    report: Callable[[int, float], None] = lambda step, loss: None,
    folder: Path | None = None,
) -> NnunetTrained:
    """Plan, preprocess and train with nnU-Net; replaces the results folder, or resumes an interrupted training.

    Args:
        source: What to train.
        device: Device of the training.
        report: Called after each step with the step and the loss.
        folder: Where the state is saved at an epoch's end to resume an interrupted training; None saves nothing.
    """
    chosen = source.trainer
    space = NnunetSpace(Path(chosen.folder), chosen.processes, chosen.augment_processes)
    keeper = chosen.keeper(folder)
    if keeper is None or not keeper.path.is_file():
        shutil.rmtree(source.results, ignore_errors=True)
    with space.entered(source.results / "log.txt", results=source.results):
        dataset = _dataset(source.task, space, "source_train", "source_validation")
        plans = _plans(source, space, dataset)
        preprocess(space, dataset, plans, source.configuration)
        with seeded(source.seed) as seed_epoch:
            resume = partial(by_epochs, seed_epoch=seed_epoch, keeper=keeper)
            return _train(source, dataset, plans, device, report, resume)


def _dataset(task: Task, space: NnunetSpace, train: str, held_out: str) -> NnunetDataset:
    """Write the task's cases, those for sources if it has splits of their own."""
    separate = train in task.splits and task.has(train)
    splits = (train, held_out) if separate else ("train", "test")
    return write_dataset(task, space, train=splits[0], held_out=[splits[1]])


def _plans(source: NnunetPretraining, space: NnunetSpace, dataset: NnunetDataset) -> Plans:
    settings: Mapping[str, Any] = {"patch": source.trainer.budget.patch, "batch": source.trainer.budget.batch,
                                   "features": source.features}  # fmt: skip
    planner, configuration = source.trainer.planner, source.configuration
    if source.target is None:
        return adapt(plan(space, dataset, planner), configuration, source.task.preparation, **settings)
    held_out = [split for split in ("test", "external") if source.target.has(split)]
    target = write_dataset(source.target, space, train="train", held_out=held_out)
    plans = adapt(plan(space, target, planner), configuration, source.target.preparation, **settings)
    return move(space, plans, target, dataset)


def _train(  # noqa: PLR0917 - has a single caller
    source: NnunetPretraining, dataset: NnunetDataset, plans: Plans, device: str,
    report: Callable[[int, float], None], resume: Callable[[Any, list[float]], None],
) -> NnunetTrained:  # fmt: skip
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    given = {**plans, "continue_training": False}
    trainer = nnUNetTrainer(given, source.configuration, 0, dataset.description, torch.device(device))
    set_budget(trainer, source.trainer.budget)
    losses: list[float] = []
    step = trainer.train_step

    def reported_step(batch: dict[str, Any]) -> dict[str, Any]:
        outcome: dict[str, Any] = step(batch)
        losses.append(float(outcome["loss"]))
        report(len(losses), losses[-1])
        return outcome

    trainer.train_step = reported_step  # a subclass would write its own name into the checkpoint
    resume(trainer, losses)
    trainer.run_training()
    trainer.perform_actual_validation(save_probabilities=False)
    folder = Path(trainer.output_folder_base)
    dice = read_dice(Path(trainer.output_folder) / "validation", range(1, source.task.classes))
    return NnunetTrained(
        folder,
        losses,
        mean_dice(list(dice.values())),
        cases=len(dataset.splits[0][0]),
        parameters=sum(weight.numel() for weight in trainer.network.parameters()),
        width=trainer.network.encoder.output_channels[0],
    )
