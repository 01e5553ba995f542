"""A source model that the suite pre-trains itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmark.data.task import Task
from benchmark.sources.architecture import Architecture
from benchmark.sources.budget import Budget
from benchmark.sources.checkpoint import Checkpoint
from benchmark.sources.model import Model

SCRATCH_CLASSES = 2  # a network that was never trained has no label set; its head must have some width


@dataclass(frozen=True)
class PoolSource:
    """What decides a source model.

    Attributes:
        name: The source's name.
        task: The task that it is pre-trained on; None: initial weights only.
        arch: The network.
        length: Name of the pre-training's length, a key of `lengths`.
        lengths: Length -> optimiser steps.
        budget: Steps, batches and learning rate.
        channels: Input channels.
        seed: Seed of initial weights, batches and augmentation.
    """

    name: str
    task: Task | None
    arch: Architecture
    length: str
    budget: Budget
    channels: int = 1
    seed: int = 0
    lengths: Mapping[str, int] = field(default_factory=dict)

    @property
    def labels(self) -> dict[int, str]:
        """Label value -> class name; empty for a source without a task."""
        return self.task.labels if self.task else {}

    @property
    def classes(self) -> int:
        """Channels of the source's own head."""
        return self.task.classes if self.task else SCRATCH_CLASSES

    def model(self, checkpoint: Checkpoint) -> Model:
        """The pre-trained source."""
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
