"""MONAI trainer: fine-tunes a source on the training cases of a target and measures Dice on its test cases."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from benchmark.data.files.cases import Case
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Split, Task
from benchmark.sources.model import Model
from benchmark.sources.pretrained import Budget
from benchmark.sources.weights.match import transfer
from benchmark.training.dice import case_dice, mean_dice, predict
from benchmark.training.loop import train
from benchmark.training.resume import Keeper
from benchmark.training.trainer import TrainingOutcome, freeze


@dataclass(frozen=True)
class MonaiTrainer:
    """Fine-tuning with the MONAI training loop.

    Attributes:
        tune: Part that is trained: all, decoder, last or head.
        budget: Steps, batches and learning rate.
        window: (3,) voxels of the sliding window at inference.
        overlap: Share by which neighbouring windows overlap.
        keep_every: Seconds between two saves of the training state.
    """

    tune: str
    budget: Budget
    window: tuple[int, int, int] = (32, 32, 32)
    overlap: float = 0.25
    keep_every: float = 60.0

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of `report`."""
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
        """Fine-tune a source on a target; arguments as in `Trainer`."""
        cases = target.cases(Split.TRAIN, preparation)
        network = model.arch.build(channels=cases[0].image.shape[0], classes=target.classes, seed=seed, device=device)
        taken = transfer(network, model.weights, head=model.arch.head)
        freeze(network, model.arch, tune=self.tune)
        keeper = Keeper(folder / "training.pt", every=self.keep_every) if folder else None
        budget = replace(self.budget, patch=model.arch.fit(self.budget.patch))
        losses = train(network, cases, budget=budget, seed=seed, report=report, keeper=keeper)
        measured = partial(_measured, network, window=model.arch.fit(self.window), overlap=self.overlap)
        dice, examples = measured(target.cases(Split.TEST, preparation), classes=target.classes)
        others = target.cases(Split.EXTERNAL, preparation) if target.has(Split.EXTERNAL) else []
        external, _ = measured(others, classes=target.classes)
        return TrainingOutcome(dice, external, losses, taken, examples)


def _measured(
    network: nn.Module, cases: Iterable[Case], *, window: Sequence[int], overlap: float, classes: int
) -> tuple[dict[str, list[float]], dict[str, tuple[Case, Tensor]]]:
    dice: dict[str, list[float]] = {}
    examples: dict[str, tuple[Case, Tensor]] = {}
    means: dict[str, float] = {}
    for case, predicted in predict(network, cases, window=window, overlap=overlap):
        dice[case.name] = case_dice(predicted, case.labels, classes=classes)
        mean = mean_dice([dice[case.name]])
        if mean < means.get("worst", math.inf):  # False for a case without foreground, whose mean is NaN
            examples["worst"], means["worst"] = (case, predicted), mean
        if mean >= means.get("best", 0.0):
            examples["best"], means["best"] = (case, predicted), mean
    return dice, examples
