"""A source model that the benchmark pre-trains itself, and its training budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from torch import nn

from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.weights.checkpoint import Checkpoint

SOURCE_SPLITS = (Split.SOURCE_TRAIN, Split.SOURCE_VALIDATION)
TARGET_SPLITS = (Split.TRAIN, Split.TEST)
SCRATCH_CLASSES = 2  # the width of the head of an untrained network, which has no label set


@dataclass(frozen=True)
class Budget:
    """The training budget of a network: steps, batches and learning rate.

    Attributes:
        steps: Optimiser steps; 0 leaves the weights unchanged.
        batch: Patches per step.
        patch: (3,) voxels of a patch.
        lr: Largest learning rate; it rises over the first tenth of the steps and falls to 0 along a cosine.
        weight_decay: Weight decay of AdamW.
        augment: Whether to flip patches and change their intensities, in addition to the random crop.
    """

    steps: int
    batch: int = 2
    patch: tuple[int, int, int] = (32, 32, 32)
    lr: float = 3e-3
    weight_decay: float = 1e-4
    augment: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.augment, bool):
            raise InputError(f"`augment` of a budget must be true or false, got {self.augment!r}")


@dataclass(frozen=True)
class Pretrained:
    """A pre-trained network, its losses and its validation Dice (NaN for initial weights)."""

    network: nn.Module
    losses: Sequence[float]
    dice: float


class Pretrainer(Protocol):
    """A way to pre-train a source other than the training loop of this project."""

    def precision(self, device: str) -> str:
        """Number format of the forward passes on a device, such as "float16"."""
        ...

    def train(
        self, source: "PoolSource", *, name: str, device: str, report: Callable[[int, float], None], folder: Path
    ) -> Pretrained:
        """Train the source's network on its task for its budget.

        Args:
            source: The source, which has a task.
            name: A name that no other job uses.
            device: Device of the training.
            report: Called after each step with the step and the loss.
            folder: Where the state is saved to resume an interrupted training.
        """
        ...


@dataclass(frozen=True)
class PoolSource:
    """The settings of a source model that is pre-trained here.

    Attributes:
        name: The source's name.
        task: The task for pre-training; None: initial weights only.
        arch: The network.
        length: Length of the pre-training, a key of `lengths`.
        lengths: Length -> optimiser steps.
        budget: Steps, batches and learning rate; nnU-Net takes its steps, batch and patch.
        channels: Input channels.
        seed: Seed of initial weights, batches and augmentation.
        window: (3,) voxels of the sliding window for validation; None: a whole case at once.
        amp: Mixed precision of training and validation, as in the trainer `monai`.
        trainer: Plans, prepares and trains in place of the training loop of this project, as nnU-Net's does.
    """

    name: str
    task: Task | None
    arch: Architecture
    length: str
    budget: Budget
    channels: int = 1
    seed: int = 0
    lengths: Mapping[str, int] = field(default_factory=dict)
    window: tuple[int, int, int] | None = None
    amp: str | bool | None = None
    trainer: Pretrainer | None = None

    def __post_init__(self) -> None:
        size, divisor, dims = self.arch.size, self.arch.divisor, self.arch.dims
        steps = [divisor] * dims if isinstance(divisor, int) else divisor
        if size is not None and (len(size) != dims or any(side % step for side, step in zip(size, steps, strict=True))):
            raise InputError(
                f"source {self.name}: {self.arch.name} takes patches of {dims} sides that are multiples of {divisor}, "
                f"got {list(size)}"
            )

    @property
    def splits(self) -> tuple[str, str]:
        """The splits for training and validation; a task without splits for sources uses `train` and `test`."""
        return SOURCE_SPLITS if self.task and SOURCE_SPLITS[0] in self.task.splits else TARGET_SPLITS

    @property
    def labels(self) -> dict[int, str]:
        """Label value -> class name; empty for a source without a task."""
        return self.task.labels if self.task else {}

    @property
    def classes(self) -> int:
        """Channels of the source's own head."""
        return self.task.classes if self.task else SCRATCH_CLASSES

    def model(self, checkpoint: Checkpoint) -> Model:
        """The model of the pre-trained source."""
        return Model(
            name=self.name,
            arch=self.arch,
            weights=checkpoint.weights,
            channels=self.channels,
            classes=self.classes,
            labels=self.labels,
            preparation=self.task.preparation if self.task else None,
            patch=tuple(self.budget.patch),
            facts=checkpoint.facts,
        )
