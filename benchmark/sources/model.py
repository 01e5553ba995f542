"""Sources: the protocol of a checkpoint, and an opened source with its network, weights and metadata."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.sources.networks.architecture import Architecture


@dataclass(frozen=True)
class Model:
    """A source that can be scored and fine-tuned.

    Attributes:
        name: The source's name.
        arch: Builds the network and names its parts.
        weights: The state dict.
        channels: Input channels of the network.
        classes: Channels of the head, z.
        labels: Label value -> class name in its training data; empty if unknown.
        preparation: How its training data were prepared; None if unknown.
        patch: Voxels of its training windows; None if unknown.
        facts: Further facts to show and record: parameters, cases, Dice on its own data, origin.
        notes: What was loaded, left out or adapted, one line each.
        head: Whether it has a trained segmentation head; without it there are no predictions.
    """

    name: str
    arch: Architecture
    weights: Mapping[str, Tensor]
    channels: int
    classes: int
    labels: Mapping[int, str] = field(default_factory=dict)
    preparation: Preparation | None = None
    patch: tuple[int, ...] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    head: bool = True

    def network(self, *, device: str = "cpu") -> nn.Module:
        """The pre-trained network with its own head, in eval mode.

        Raises:
            InputError: The weights do not match the architecture.
        """
        network = self.arch.to_fill(channels=self.channels, classes=self.classes, device=device)
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            detail = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
            raise InputError(f"source {self.name}: weights do not match {self.arch.name}: {detail}") from error
        return network.eval()


@runtime_checkable
class Source(Protocol):
    """An existing checkpoint, with the settings to read it."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def digest(self) -> str:
        """SHA-256 over the files that decide its weights and its network."""
        ...

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file is missing, unreadable or refused, or the weights do not match the network.
        """
        ...
