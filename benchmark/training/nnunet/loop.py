"""nnU-Net's training loop for a given network, with a callback after each step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn


class FineTuningTrainer(nnUNetTrainer):  # type: ignore[misc]  # nnU-Net is not typed
    """nnU-Net's trainer with the network of a source instead of the planned one.

    nnU-Net builds trainers from the argument names of their constructor, so these attributes are set after construction
    and before `initialize`.

    Attributes:
        given: The network, with loaded weights and frozen parameters.
        report: Called after each step with the step and the loss.
        losses: The loss at each step.
    """

    given: nn.Module
    report: Callable[[int, float], None]
    losses: list[float]

    def build_network_architecture(self, plans_manager: Any, *_: Any, **__: Any) -> nn.Module:
        """Return the given network."""
        return self.given

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch deep supervision, which only nnU-Net's own networks support."""
        if is_supervised_deeply(self.network):
            super().set_deep_supervision_enabled(enabled)

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Run one step and report its loss."""
        outcome: dict[str, Any] = super().train_step(batch)
        self.losses.append(float(outcome["loss"]))
        self.report(len(self.losses), self.losses[-1])
        return outcome

    def validate(self, fold: int, folder: Path) -> Path:
        """Predict the validation cases of a fold and compare them with their labels.

        Returns:
            The folder of the predictions and `summary.json`.
        """
        self.fold, self.output_folder = fold, str(folder)
        self.perform_actual_validation(save_probabilities=False)
        return folder / "validation"

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """Size of each output relative to the patch, from the strides of the given network instead of the plan."""
        if not self.enable_deep_supervision:
            return None
        sides = 1.0 / np.cumprod(np.vstack(self.network.encoder.strides), axis=0)
        return [list(map(float, scale)) for scale in sides[:-1]]


class Slices(nn.Module):
    """Wrapper of a 2D network that takes volumes, for the slices (b, c, H, W) of nnU-Net's loop.

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
    """Whether a network has a decoder with deep supervision, as nnU-Net's own networks have."""
    return hasattr(getattr(network, "decoder", None), "deep_supervision") and hasattr(network, "encoder")
