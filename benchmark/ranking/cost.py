"""What scoring and fine-tuning a source cost; fine-tuning is estimated from one measured training step."""

import math
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import nn

from benchmark.jobs.provenance import provenance
from benchmark.training.trainer import Trainer

if TYPE_CHECKING:
    from benchmark.ranking.estimates import SourceOutcome


@dataclass(frozen=True)
class FineTuningWork:
    """The fine-tuning whose cost is estimated.

    Attributes:
        steps: Optimiser steps.
        batch: Patches per step.
        seeds: Runs per source.
        patch: (3,) voxels; None: windows of the source's own size.
    """

    steps: int
    batch: int
    seeds: int
    patch: tuple[int, ...] | None = None

    @classmethod
    def of(cls, trainer: Trainer, *, seeds: int) -> "FineTuningWork":
        """The work of a trainer's budget; where nnU-Net plans the batch, two patches."""
        budget = getattr(trainer, "budget", None)
        patch = getattr(budget, "patch", None)
        return cls(trainer.steps, getattr(budget, "batch", None) or 2, seeds, tuple(patch) if patch else None)

    def seconds(self, step: float, window: Sequence[int]) -> float:
        """Estimated seconds of all runs of a source, from those of a training step with one window of (3,) voxels.

        Example:
            >>> FineTuningWork(steps=100, batch=2, seeds=3, patch=(10, 10, 10)).seconds(0.5, (10, 10, 10))
            300.0
        """
        windows = math.prod(self.patch) * self.batch / math.prod(window) if self.patch else self.batch
        return step * windows * self.steps * self.seeds

    def describe(self) -> str:
        """What the estimated cost is for."""
        size = f"patches of {'x'.join(map(str, self.patch))}" if self.patch else "windows of the source's own size"
        return (
            f"fine-tuning is an estimate, no measurement: one training step was timed for each source, and multiplied "
            f"by {self.steps} steps of {self.batch} {size} and {self.seeds} seeds (`trainer`, `fine_tuning_seeds`); "
            f"reading data and validation are not in it"
        )


def cost_frame(outcomes: "Sequence[SourceOutcome]", work: FineTuningWork) -> pd.DataFrame:
    """The costs of scored sources, one row each, as `analysis.ranking.tables.Account` has them."""
    return pd.DataFrame(
        [
            {
                "source": outcome.name,
                "architecture": facts["architecture"],
                "parameters": facts["parameters"],
                "window": "x".join(map(str, facts["window"])),
                "seconds": facts["seconds"],
                "peak_memory_mb": facts["peak_memory_mb"],
                "fine_tuning_seconds": work.seconds(facts["step_seconds"], facts["window"]),
                "fine_tuning_reason": facts["step_reason"],
            }
            for outcome in outcomes
            for facts in [outcome.facts]
        ]
    )


def machine(device: str) -> str:
    """The machine that the costs were measured on, in words."""
    runs = torch.cuda.get_device_name(0) if device.startswith("cuda") else provenance().details["processor"]
    return (
        f"ran on {device} ({runs}, {torch.get_num_threads()} threads, torch {torch.__version__}) of {platform.node()}"
    )


def step_seconds(network: nn.Module, *, channels: int, window: Sequence[int], device: str) -> float:
    """Seconds of one training step, forward and backward, with one window of (3,) zeros; the second of two.

    Where the network returns several tensors in training mode, as a deeply supervised one does, all of them count. Its
    weights and mode stay as they were, its gradients are dropped.

    Raises:
        ValueError: No output depends on the weights.
        Exception: Whatever the network raises, which may also be for want of memory.
    """
    training = {module: module.training for module in network.modules()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    network.train()
    try:
        return [_step(network, torch.zeros(1, channels, *window, device=device)) for _ in range(2)][1]
    finally:
        network.zero_grad(set_to_none=True)
        for module, mode in training.items():
            module.training = mode
        for name, buffer in network.named_buffers():  # a batch norm counts what it sees in training
            if name in buffers and buffers[name].shape == buffer.shape:
                buffer.copy_(buffers[name])


def _step(network: nn.Module, views: torch.Tensor) -> float:
    start = time.perf_counter()
    with torch.enable_grad():
        losses = [output.square().mean() for output in _tensors(network(views)) if output.requires_grad]
        if not losses:
            raise ValueError("the output in training mode holds no tensor that depends on the weights")
        torch.autograd.backward(torch.stack([loss.float() for loss in losses]).sum())
    if views.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _tensors(output: object) -> Iterator[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping | list | tuple):
        for inner in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(inner)
