"""Train a source with nnU-Net, which leaves a results folder like nnU-Net's own command line."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.data.preprocessing.planning import Plans
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.pretrained import PoolSource, Pretrained
from benchmark.training.dice import mean_dice
from benchmark.training.nnunet.dataset import NnunetDataset, NnunetSpace, write_dataset
from benchmark.training.nnunet.plans import adapt, move, plan, preprocess
from benchmark.training.nnunet.trainer import CONFIGURATIONS, NnunetTrainer, new_trainer, read_dice


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
        arch: The network to train in place of the planned one.
    """

    name: str
    task: Task
    target: Task | None
    trainer: NnunetTrainer
    configuration: str = "3d_fullres"
    features: tuple[int, ...] | None = None
    seed: int = 0
    arch: Architecture | None = None

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
        parameters: Number of the network's parameters.
        width: Channels of its finest stage.
        network: The trained network.
    """

    folder: Path
    losses: Sequence[float]
    dice: float
    cases: int
    parameters: int
    width: int
    network: nn.Module


def pretrain(
    source: NnunetPretraining,
    *,
    device: str = "cpu",
    report: Callable[[int, float], None] = lambda step, loss: None,
    folder: Path | None = None,
) -> NnunetTrained:
    """Plan, preprocess and train with nnU-Net; replaces the results folder, or resumes an interrupted training.

    The state is saved at an epoch's end. Arguments as in `Trainer.fine_tune`.
    """
    trainer, space = source.trainer, source.trainer.space
    keeper = trainer.keeper(folder)
    if keeper is None or not keeper.path.is_file():
        shutil.rmtree(source.results, ignore_errors=True)
    with space.entered(source.results / "log.txt", results=source.results):
        from benchmark.training.nnunet.loop import by_epochs, seeded

        dataset = _dataset(source.task, space)
        plans = _plans(source, space, dataset)
        preprocess(space, dataset, plans, source.configuration)
        with seeded(source.seed) as seed_epoch:
            run = _trainer(source, dataset, plans, device=device)
            progress = by_epochs(run, report=report, seed_epoch=seed_epoch, keeper=keeper)
            run.run_training()
            run.perform_actual_validation(save_probabilities=False)
    dice = read_dice(Path(run.output_folder) / "validation", range(1, source.task.classes))
    return NnunetTrained(
        Path(run.output_folder_base),
        progress.losses,
        mean_dice(list(dice.values())),
        cases=len(dataset.splits[0][0]),
        parameters=sum(weight.numel() for weight in run.network.parameters()),
        width=source.arch.width if source.arch else run.network.encoder.output_channels[0],
        network=getattr(run, "given", run.network),
    )


@dataclass(frozen=True)
class NnunetPretrainer:
    """Pre-trains a source of a pool by nnU-Net: its network, on its task's own plan.

    Attributes:
        trainer: nnU-Net's trainer; the source's budget replaces its epochs, patch and batch.
    """

    trainer: NnunetTrainer

    def precision(self, device: str) -> str:
        """Number format of the forward passes, which nnU-Net chooses by the device."""
        return self.trainer.precision(device)

    def train(
        self, source: PoolSource, *, name: str, device: str, report: Callable[[int, float], None], folder: Path
    ) -> Pretrained:
        """Train the source's network; arguments as in `Pretrainer`.

        Raises:
            InputError: The steps are not a multiple of the iterations of an epoch.
        """
        assert source.task is not None, "initial weights are not trained"
        steps, iterations, arch = source.budget.steps, self.trainer.budget.iterations, source.arch
        if steps % iterations:
            raise InputError(f"source {source.name}: budget.steps must be a multiple of the {iterations} iterations of "
                             f"nnU-Net's epoch, got {steps}")  # fmt: skip
        patch = arch.fit(source.budget.patch)[-arch.dims :]
        budget = replace(self.trainer.budget, epochs=steps // iterations, batch=source.budget.batch, patch=patch)
        settings = NnunetPretraining(
            name=name,
            task=source.task,
            target=None,
            trainer=replace(self.trainer, budget=budget),
            configuration=CONFIGURATIONS[arch.dims],
            seed=source.seed,
            arch=arch,
        )
        trained = pretrain(settings, device=device, report=report, folder=folder)
        shutil.rmtree(settings.results)  # its log and the predictions of validation cases
        return Pretrained(trained.network.eval(), trained.losses, trained.dice)


def _trainer(source: NnunetPretraining, dataset: NnunetDataset, plans: Plans, *, device: str) -> Any:
    """nnU-Net's trainer of the planned network, or of the source's."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from benchmark.training.nnunet.loop import NetworkTrainer

    new = partial(new_trainer, dataset=dataset, plans=plans, configuration=source.configuration, device=device)
    if source.arch is None:
        return new(nnUNetTrainer, settings=source.trainer)
    trainer = new(NetworkTrainer, settings=source.trainer)
    heads = trainer.label_manager.num_segmentation_heads
    network = source.arch.build(channels=source.task.channels, classes=heads, seed=source.seed, device=device)
    trainer.give(network, dims=source.arch.dims)
    return trainer


def _dataset(task: Task, space: NnunetSpace) -> NnunetDataset:
    if task.has(Split.SOURCE_TRAIN):
        return write_dataset(task, space, train=Split.SOURCE_TRAIN, held_out=[Split.SOURCE_VALIDATION])
    return write_dataset(task, space, train=Split.TRAIN, held_out=[Split.TEST])


def _plans(source: NnunetPretraining, space: NnunetSpace, dataset: NnunetDataset) -> Plans:
    planner, budget, configuration = source.trainer.planner, source.trainer.budget, source.configuration
    fitted = partial(adapt, patch=budget.patch, batch=budget.batch, features=source.features)
    if source.target is None:
        return fitted(plan(space, dataset, planner), configuration, source.task.preparation)
    held_out = [split for split in (Split.TEST, Split.EXTERNAL) if source.target.has(split)]
    target = write_dataset(source.target, space, train=Split.TRAIN, held_out=held_out)
    plans = fitted(plan(space, target, planner), configuration, source.target.preparation)
    return move(space, plans, target, dataset)
