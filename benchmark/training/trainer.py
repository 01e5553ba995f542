"""Interface of trainers: fine-tune a source on a target and return the outcome."""

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
    """Result of one fine-tuning.

    Attributes:
        dice: Test case -> Dice of each foreground class; NaN for a class that is absent from the case.
        external: The same for cases of another patient; empty if there are none.
        losses: The training loss at each step.
        transfer: Which weights were loaded from the source.
        examples: The worst and the best test case with their predicted labels (D, H, W) uint8.
    """

    dice: Mapping[str, Sequence[float]]
    external: Mapping[str, Sequence[float]]
    losses: Sequence[float]
    transfer: Transfer
    examples: Mapping[str, tuple[Case, Tensor]]


class Trainer(Protocol):
    """A way to fine-tune a source on a target.

    Attributes:
        tune: Part that is trained: all, decoder, last or head.
        steps: Number of calls of `report`.
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
        """Fine-tune a source on a target with one seed, and measure Dice after the last step.

        An interrupted training resumes from the state saved in `folder`.
        """
        ...
