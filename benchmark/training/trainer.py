"""What trainers share: their interface, the outcome of a fine-tuning, and the parts of a network that are trained."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from benchmark.data.files.cases import BoxReader
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.weights.match import Transfer

TUNE = ("all", "decoder", "last", "head")
# Name -> share of the steps after which the validation cases are measured, rounded up to a whole step
RUNGS: Mapping[str, Fraction] = {
    "eighth": Fraction(1, 8),
    "quarter": Fraction(1, 4),
    "half": Fraction(1, 2),
    "full": Fraction(1),
}


@dataclass(frozen=True)
class Rung:
    """Dice on the validation cases during a fine-tuning.

    Attributes:
        steps: Number of steps before the measurement.
        dice: Validation case -> Dice of each foreground class; NaN for a class that is absent from the case.
        seconds: Duration of these steps and of this measurement, without earlier measurements.
        validation_seconds: Duration of this measurement.
    """

    steps: int
    dice: Mapping[str, Sequence[float]]
    seconds: float
    validation_seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class TrainingOutcome:
    """Result of one fine-tuning.

    Attributes:
        dice: Test case -> Dice of each foreground class; NaN for a class that is absent from the case.
        external: The same for cases of another patient; empty if there are none.
        losses: The training loss at each step.
        transfer: Which weights were loaded from the source.
        examples: The worst and the best test case with their predicted labels (D, H, W) uint8.
        rungs: Name of `RUNGS` -> Dice on the validation cases; empty if the target has none or the trainer measures
            only at the end.
    """

    dice: Mapping[str, Sequence[float]]
    external: Mapping[str, Sequence[float]]
    losses: Sequence[float]
    transfer: Transfer
    examples: Mapping[str, tuple[BoxReader, Tensor]]
    rungs: Mapping[str, Rung] = field(default_factory=dict)


@dataclass(frozen=True)
class PartialTraining:
    """A fine-tuning that pauses after a rung; its state is saved.

    Attributes:
        losses: The training loss at each step up to the rung.
        transfer: Which weights were loaded from the source.
        rung: Dice on the validation cases at the rung.
    """

    losses: Sequence[float]
    transfer: Transfer
    rung: Rung


class Trainer(Protocol):
    """A way to fine-tune a source on a target.

    Attributes:
        tune: Part that is trained: all, decoder, last or head.
        steps: Number of calls of `report`.
        moments: Number of values that the optimiser keeps for each weight.
        rungs: Name of `RUNGS` -> the step after which a race measures the validation cases, ascending; of names with
            the same step, the last.
    """

    @property
    def tune(self) -> str: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def moments(self) -> int: ...  # noqa: D102
    @property
    def rungs(self) -> Mapping[str, int]: ...  # noqa: D102

    def precision(self, device: str) -> str:
        """Number format of the forward passes on a device, such as "bfloat16"; it is recorded with the run."""
        ...

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
        """Fine-tune a source on a target with one seed, and measure Dice after the last step.

        Args:
            model: The source.
            target: The target; trained on the split `train`, measured on `test` and `external`, and on the way on
                `validation`.
            preparation: How volumes are prepared for the network.
            seed: Seed of the new head, the order of batches and the augmentation, equally for every source.
            device: Device of the training.
            report: Called after each step with the step and the loss.
            folder: Where the state is saved to resume an interrupted training; None saves nothing.
        """
        ...

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
        """Fine-tune a source up to a rung, from the state in `folder` if there is one, and save the state there.

        Losses and weights are those of `fine_tune` with the same training cases. Only the splits `train` and
        `validation` are read.

        Args:
            model: The source.
            target: The target, with validation cases.
            preparation: How volumes are prepared for the network.
            rung: A name in `rungs`.
            seed: As for `fine_tune`.
            device: As for `fine_tune`.
            report: As for `fine_tune`.
            folder: Where the state is.
        """
        ...

    def trained_with(self, model: Model, target: Task, preparation: Preparation) -> tuple[Preparation, tuple[int, ...]]:
        """The preparation of the volumes that the network is trained on, and (3,) or (2,) voxels of the patches."""
        ...


def check_tune(tune: str) -> None:
    """Refuse a part to train that is not in TUNE.

    Raises:
        InputError: It is not.
    """
    if tune not in TUNE:
        raise InputError(f"trainer.tune must be one of {', '.join(TUNE)}, got {tune}")


def freeze(network: nn.Module, architecture: Architecture, *, tune: str) -> list[nn.Parameter]:
    """Freeze every weight that `tune` does not select, and return the parameters to train.

    Args:
        network: The network; `requires_grad` of its parameters is set.
        architecture: The names of its parts.
        tune: "all", "decoder" (decoder and head), "last" (last decoder stage and head) or "head".

    Raises:
        InputError: `tune` has another value.
    """
    check_tune(tune)
    parts: Sequence[str] = {
        "all": ("",),
        "decoder": (*architecture.decoder, *architecture.head),
        "last": (*architecture.last, *architecture.head),
        "head": architecture.head,
    }[tune]
    network.requires_grad_(False)
    for part in parts:
        network.get_submodule(part).requires_grad_(True)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
