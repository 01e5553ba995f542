"""MONAI trainer: fine-tunes a source on the training cases of a target and measures Dice on its test cases.

If the target has validation cases, their Dice is measured on the way, too. Test cases are predicted only after the last
step.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmark.data.files.cases import BoxReader
from benchmark.data.prepared.cases import Cases, prepare_together
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import check_whole
from benchmark.sources.model import Model
from benchmark.sources.pretrained import Budget
from benchmark.sources.weights.match import Transfer, transfer
from benchmark.training.dice import case_dice, mean_dice
from benchmark.training.loop import train
from benchmark.training.precision import Precision, choose_precision
from benchmark.training.prediction import predict
from benchmark.training.resume import Keeper, state_path
from benchmark.training.rungs import RungRecorder, race_rungs, rung_steps
from benchmark.training.trainer import PartialTraining, TrainingOutcome, check_tune, freeze


@dataclass(frozen=True)
class MonaiTrainer:
    """Fine-tuning with the MONAI training loop.

    Attributes:
        tune: Part that is trained: all, decoder, last or head.
        budget: Steps, batches and learning rate.
        window: (3,) voxels of the sliding window at inference.
        overlap: Share by which neighbouring windows overlap.
        amp: Mixed precision of training and prediction: bfloat16, or False or float32 for full precision; None for
            bfloat16 on a CUDA device that computes in it, and full precision elsewhere.
        keep_every: Seconds between two saves of the training state.
    """

    tune: str
    budget: Budget
    window: tuple[int, int, int] = (32, 32, 32)
    overlap: float = 0.25
    amp: str | bool | None = None
    keep_every: float = 60.0

    def __post_init__(self) -> None:
        check_tune(self.tune)
        choose_precision(self.amp, "cpu")
        check_whole("monai.steps", self.budget.steps, least=1)

    @property
    def steps(self) -> int:
        """Number of steps, and of calls of `report`."""
        return self.budget.steps

    @property
    def moments(self) -> int:
        """Number of values that AdamW keeps for each weight: its first and second moment."""
        return 2

    def precision(self, device: str) -> Precision:
        """Number format of the forward passes on a device.

        Raises:
            InputError: `amp` is not a setting of mixed precision.
        """
        return choose_precision(self.amp, device)

    @property
    def rungs(self) -> dict[str, int]:
        """Rung -> the step after which a race measures the validation cases."""
        return race_rungs(self.budget.steps)

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
        splits = [split for split in (Split.TRAIN, Split.VALIDATION, Split.TEST, Split.EXTERNAL) if target.has(split)]
        tuning = self._begin(model, target, preparation, splits=splits, seed=seed, device=device, folder=folder)
        planned = rung_steps(self.budget.steps) if Split.VALIDATION in splits else {}
        rungs = RungRecorder(planned, lambda: tuning.measured(Split.VALIDATION)[0])
        losses = tuning.train(report=report, between=rungs)
        dice, examples = tuning.measured(Split.TEST)
        external, _ = tuning.measured(Split.EXTERNAL)
        return TrainingOutcome(dice, external, losses, tuning.taken, examples, rungs.rungs)

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
        """Fine-tune a source on a target up to a rung; arguments as in `Trainer`."""
        splits = [Split.TRAIN, Split.VALIDATION]
        tuning = self._begin(model, target, preparation, splits=splits, seed=seed, device=device, folder=folder)
        rungs = RungRecorder(self.rungs, lambda: tuning.measured(Split.VALIDATION)[0])
        losses = tuning.train(report=report, between=rungs, until=self.rungs[rung])
        return PartialTraining(losses, tuning.taken, rungs.rungs[rung])

    def trained_with(self, model: Model, target: Task, preparation: Preparation) -> tuple[Preparation, tuple[int, ...]]:
        """The preparation itself, and the patch that the network accepts."""
        return preparation, model.arch.fit(self.budget.patch)

    def _begin(
        self,
        model: Model,
        target: Task,
        preparation: Preparation,
        *,
        splits: Sequence[Split],
        seed: int,
        device: str,
        folder: Path | None,
    ) -> "_Tuning":
        """Prepare the cases and build the network, before any training."""
        cases = {split: target.cases(split, preparation) for split in splits}
        prepare_together(list(cases.values()))
        network = model.arch.build(channels=target.channels, classes=target.classes, seed=seed, device=device)
        taken = transfer(network, model.weights, head=model.arch.head)
        freeze(network, model.arch, tune=self.tune)
        keeper = Keeper(state_path(folder), every=self.keep_every) if folder else None
        budget = replace(self.budget, patch=model.arch.fit(self.budget.patch))
        precision = self.precision(device)
        training = partial(train, network, cases[Split.TRAIN], budget=budget, seed=seed, precision=precision)
        predicted = partial(
            predict, network, window=model.arch.fit(self.window), overlap=self.overlap, precision=precision
        )
        return _Tuning(cases, target.classes, taken, partial(training, keeper=keeper), predicted)


@dataclass(frozen=True)
class _Tuning:
    """A fine-tuning that is ready to start.

    Attributes:
        cases: Split -> its prepared cases.
        classes: Classes of the target.
        taken: Which weights were loaded from the source.
        train: Trains the network; the loss at each step.
        predicted: Predicts cases with the network as it is.
    """

    cases: Mapping[Split, Cases]
    classes: int
    taken: Transfer
    train: Callable[..., list[float]]
    predicted: Callable[[Iterable[BoxReader]], Iterable[tuple[BoxReader, Tensor]]]

    def measured(self, split: Split) -> tuple[dict[str, list[float]], dict[str, tuple[BoxReader, Tensor]]]:
        """Dice of each case of a split, and its worst and best case; empty if there is no such split."""
        readers = self.cases[split].readers() if split in self.cases else []
        return _measured(self.predicted, readers, classes=self.classes)


def _measured(
    predicted_cases: Callable[[Iterable[BoxReader]], Iterable[tuple[BoxReader, Tensor]]],
    cases: Iterable[BoxReader],
    *,
    classes: int,
) -> tuple[dict[str, list[float]], dict[str, tuple[BoxReader, Tensor]]]:
    dice: dict[str, list[float]] = {}
    examples: dict[str, tuple[BoxReader, Tensor]] = {}
    means: dict[str, float] = {}
    for case, predicted in predicted_cases(cases):
        dice[case.name] = case_dice(predicted, case.labels, classes=classes)
        mean = mean_dice([dice[case.name]])
        if mean < means.get("worst", math.inf):  # False for a case without foreground, whose mean is NaN
            examples["worst"], means["worst"] = (case, predicted), mean
        if mean >= means.get("best", 0.0):
            examples["best"], means["best"] = (case, predicted), mean
    return dice, examples
