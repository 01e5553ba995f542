"""nnU-Net's own training loop around a network that is given, told step by step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn


class FineTuningTrainer(nnUNetTrainer):  # type: ignore[misc]  # nnU-Net is not typed
    """A trainer of nnU-Net whose network is the source's instead of the planned one.

    nnU-Net builds its trainers from the names of their constructor's arguments, so what is ours is set afterwards,
    before `initialize`.

    Attributes:
        given: The network, weights loaded, parameters frozen as wanted.
        report: Called after each step with the step and the loss.
        losses: The loss at each step.
    """

    given: nn.Module
    report: Callable[[int, float], None]
    losses: list[float]

    def build_network_architecture(self, plans_manager: Any, *_: Any, **__: Any) -> nn.Module:
        """The given network."""
        return self.given

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Only nnU-Net's own networks can switch it."""
        if is_supervised_deeply(self.network):
            super().set_deep_supervision_enabled(enabled)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step, kept and told."""
        done: dict[str, Any] = super().train_step(batch)
        self.losses.append(float(done["loss"]))
        self.report(len(self.losses), self.losses[-1])
        return done

    def validate(self, fold: int, folder: Path) -> Path:
        """Predict the held-out cases of a fold, and compare them with their labels.

        Returns:
            The folder with a prediction for each case, and `summary.json`.
        """
        self.fold, self.output_folder = fold, str(folder)
        self.perform_actual_validation(save_probabilities=False)
        return folder / "validation"

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """The share of the patch's sides that each output has; the given network's strides decide, not the plan's."""
        if not self.enable_deep_supervision:
            return None
        sides = 1.0 / np.cumprod(np.vstack(self.network.encoder.strides), axis=0)
        return [list(map(float, scale)) for scale in sides[:-1]]


class Slices(nn.Module):
    """A network of two dimensions that is built to take volumes, given the slices (b, c, H, W) of nnU-Net's loop.

    Args:
        network: Maps (b, c, 1, H, W) to logits (b, k, 1, H, W).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Logits (b, k, H, W)."""
        logits: Tensor = self.network(image[:, :, None])
        return logits[:, :, 0]


def is_supervised_deeply(network: nn.Module) -> bool:
    """Whether a network is of nnU-Net's kind, whose decoder returns an output at each resolution when asked to."""
    return hasattr(getattr(network, "decoder", None), "deep_supervision") and hasattr(network, "encoder")
