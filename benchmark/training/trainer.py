"""What every trainer offers: a source fine-tuned on a target, and what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.sources.model import Model
from benchmark.sources.weights.transfer import Transfer


@dataclass(frozen=True)
class TrainingOutcome:
    """What one fine-tuning gave.

    Attributes:
        dice: Test case -> Dice of each foreground class; NaN for a class that the case does not hold.
        external: The same for another patient's cases; empty where there are none.
        losses: The training loss at each step.
        transfer: What was taken over from the source.
        examples: The worst and the best test case with the predicted labels (D, H, W) uint8.
    """

    dice: Mapping[str, Sequence[float]]
    external: Mapping[str, Sequence[float]]
    losses: Sequence[float]
    transfer: Transfer
    examples: Mapping[str, tuple[Case, Tensor]]


class Trainer(Protocol):
    """How the truth is made.

    Attributes:
        tune: What is tuned: all, decoder, last or head.
        steps: How often `report` is called.
    """

    @property
    def tune(self) -> str: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102

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

        What was stopped goes on from the state that it keeps in `folder`.
        """
        ...
