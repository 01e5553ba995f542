"""An opened source: its network, its weights and what is known of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.sources.networks.architecture import Architecture


@dataclass(frozen=True)
class Model:
    """A source that can be scored and fine-tuned.

    Attributes:
        name: The source's name.
        arch: Builds its network, and names the parts of it.
        weights: The state dict.
        channels: Input channels of its network.
        classes: Channels of its head, z.
        labels: Label value -> class name of the data that it was trained on; empty where not known.
        preparation: How its training data became its input; None where not known.
        patch: Voxels of the windows that it was trained on; None where not known.
        facts: Further facts to show and record: parameters, cases, Dice on its own data, where it came from.
        notes: What was taken over, left out or adapted on the way, one line each.
        head: Whether its segmentation head was trained; without one there is no prediction to read.
    """

    name: str
    arch: Architecture
    weights: Mapping[str, Tensor]
    channels: int
    classes: int
    labels: Mapping[int, str] = field(default_factory=dict)
    preparation: Preparation | None = None
    patch: tuple[int, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    head: bool = True

    def network(self, *, device: str = "cpu") -> nn.Module:
        """The pre-trained network with its own head, in eval mode.

        Raises:
            InputError: The weights do not fit the architecture.
        """
        network = self.arch.build(channels=self.channels, classes=self.classes, seed=0, device=device)
        try:
            network.load_state_dict(dict(self.weights))
        except RuntimeError as error:
            detail = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
            raise InputError(f"source {self.name}: the weights must fit {self.arch.name}, got: {detail}") from error
        return network.eval()
