"""The MONAI trainer: a source's weights fine-tuned on a target's labelled cases, measured on its test cases."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.sources.budget import Budget
from benchmark.sources.model import Model
from benchmark.sources.weights.transfer import transfer
from benchmark.training.dice import case_dice, mean_dice, predict
from benchmark.training.freeze import freeze
from benchmark.training.loop import train
from benchmark.training.resume import Keeper
from benchmark.training.trainer import TrainingOutcome


@dataclass(frozen=True)
class MonaiTrainer:
    """How the truth is made.

    Attributes:
        tune: What is tuned: all, decoder, last or head.
        budget: Steps, batches and learning rate.
        window: (3,) voxels of the sliding window at inference.
        overlap: Share by which neighbouring windows overlap.
        keep_every: Seconds between two writes of a training's state.
    """

    tune: str
    budget: Budget
    window: tuple[int, int, int] = (32, 32, 32)
    overlap: float = 0.25
    keep_every: float = 60.0

    @property
    def steps(self) -> int:
        """How often `report` is called."""
        return self.budget.steps

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
        """Fine-tune one source on one target with one seed; Dice is that of the last step.

        The seed decides the new head, the order of batches and the augmentation, alike for every source.

        Args:
            model: The source.
            target: The target; its split `train` is tuned on, `test` and `external` are measured.
            preparation: How its volumes become the network's input.
            seed: The fine-tuning seed.
            device: Where it runs.
            report: Called after each step with the step and the loss.
            folder: Where it keeps its state, to go on from there when it was stopped; None keeps none.
        """
        cases = target.cases("train", preparation)
        network = model.arch.build(channels=cases[0].image.shape[0], classes=target.classes, seed=seed, device=device)
        taken = transfer(network, model.weights, head=model.arch.head)
        freeze(network, model.arch, tune=self.tune)
        keeper = Keeper(folder / "training.pt", every=self.keep_every) if folder else None
        budget = replace(self.budget, patch=model.arch.fit(self.budget.patch))
        losses = train(network, cases, budget=budget, seed=seed, report=report, keeper=keeper)
        measured = partial(_measured, network, window=model.arch.fit(self.window), overlap=self.overlap)
        dice, examples = measured(target.cases("test", preparation), classes=target.classes)
        others = target.cases("external", preparation) if target.has("external") else []
        external, _ = measured(others, classes=target.classes)
        return TrainingOutcome(dice, external, losses, taken, examples)


def _measured(
    network: nn.Module, cases: Iterable[Case], *, window: Sequence[int], overlap: float, classes: int
) -> tuple[dict[str, list[float]], dict[str, tuple[Case, Tensor]]]:
    """Dice of each case, and the worst and the best case that holds a class, with its predicted labels."""
    dice: dict[str, list[float]] = {}
    examples: dict[str, tuple[Case, Tensor]] = {}
    means: dict[str, float] = {}
    for case, predicted in predict(network, cases, window=window, overlap=overlap):
        dice[case.name] = case_dice(predicted, case.labels, classes=classes)
        mean = mean_dice([dice[case.name]])
        if mean < means.get("worst", math.inf):  # never of a case without a class, whose mean is NaN
            examples["worst"], means["worst"] = (case, predicted), mean
        if mean >= means.get("best", 0.0):
            examples["best"], means["best"] = (case, predicted), mean
    return dice, examples
