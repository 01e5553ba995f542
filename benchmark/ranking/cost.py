"""What fine-tuning a source would cost, estimated from one measured training step."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class FineTuningWork:
    """The fine-tuning whose cost is estimated.

    Attributes:
        steps: Optimiser steps.
        voxels: Voxels a step, batch times patch; 0: one window of the source's own a step, times `batch`.
        batch: Patches a step.
        seeds: Runs a source.
    """

    steps: int
    voxels: int
    batch: int
    seeds: int

    def seconds(self, step: float, window: Sequence[int]) -> float:
        """Estimated seconds of all runs of one source.

        Args:
            step: Seconds of a training step with one window.
            window: (3,) its voxels.

        Example:
            >>> FineTuningWork(steps=100, voxels=2000, batch=2, seeds=3).seconds(0.5, (10, 10, 10))
            300.0
        """
        windows = self.voxels / math.prod(window) if self.voxels else self.batch
        return step * windows * self.steps * self.seeds


def step_seconds(network: nn.Module, *, channels: int, window: Sequence[int], device: str) -> float:
    """Seconds of one training step, forward and backward, with one window of zeros; the second of two.

    Where the network returns several tensors in training mode, as a deeply supervised one does, all of them count.

    Args:
        network: Its weights and mode stay as they were, its gradients are dropped.
        channels: Input channels.
        window: (3,) voxels.
        device: Where it runs.

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


def _tensors(output: Any) -> Iterator[torch.Tensor]:
    """All tensors of whatever a network returns."""
    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, Mapping):
        yield from (tensor for inner in output.values() for tensor in _tensors(inner))
    elif isinstance(output, list | tuple):
        yield from (tensor for inner in output for tensor in _tensors(inner))
