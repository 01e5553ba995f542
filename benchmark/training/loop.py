"""Training loop: seeded batches of patches and AdamW."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import torch
from torch import nn

from benchmark.data.files.cases import Case
from benchmark.sources.pretrained import Budget
from benchmark.training.loss import training_loss
from benchmark.training.patches import batches
from benchmark.training.precision import Precision, autocast
from benchmark.training.resume import Keeper


class Between(Protocol):
    """Something that is measured between two steps of a training, and survives its interruption.

    Attributes:
        steps: The numbers of steps after which `after` is called; 0 is before the first step.
    """

    @property
    def steps(self) -> Collection[int]: ...  # noqa: D102

    def start(self, saved: str) -> None:
        """Called before the first step, with the `state` of an interrupted training, or an empty text."""
        ...

    def after(self, step: int) -> None:
        """Called after a step, with the network in evaluation mode; random numbers drawn here change no later step."""
        ...

    def state(self) -> str:
        """What is saved with the state of the training."""
        ...


def train(
    network: nn.Module,
    cases: Sequence[Case],
    *,
    budget: Budget,
    seed: int,
    precision: Precision = "float32",
    report: Callable[[int, float], None] = lambda step, loss: None,
    keeper: Keeper | None = None,
    between: Between | None = None,
    until: int | None = None,
) -> list[float]:
    """Train the parameters that require a gradient.

    Args:
        network: Maps (b, c, D, H, W) to logits (b, k, D, H, W), or to several maps in training mode; changed in place.
        cases: The training cases.
        budget: Steps, batches and learning rate.
        seed: Seed of batch order, crops and augmentation; equal seeds give equal batches for every network.
        precision: Number format of the forward passes; the loss, the weights and the optimiser are float32.
        report: Called after each step with the step and the loss.
        keeper: Saves the state, and restores that of an interrupted training.
        between: Measures the network after some steps, which changes neither losses nor weights.
        until: The number of steps after which the training pauses, its state saved by `keeper`; None: all of them. The
            learning rate follows the schedule of all steps, so that a training with pauses equals one without.

    Returns:
        The loss at each step; those after `until` are left out if the saved state is already past it.
    """
    device = next(network.parameters()).device
    tuned = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(tuned, lr=budget.lr, weight_decay=budget.weight_decay)
    network.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # dropout uses the global generator
        torch.manual_seed(seed)
        losses = keeper.load(network, optimiser) if keeper else []
        done = len(losses)
        if between:
            between.start(keeper.extra if keeper and done else "")
            if done == 0 and 0 in between.steps:
                _measure(network, between, 0)
        for step, (image, labels) in enumerate(batches(cases, budget=budget, seed=seed, start=done, end=until), done):
            for group in optimiser.param_groups:
                group["lr"] = budget.lr * schedule(step, budget.steps)
            optimiser.zero_grad(set_to_none=True)
            with autocast(device, precision):
                output = network(image.to(device, memory_format=torch.channels_last_3d, non_blocking=True))
            loss = training_loss(output, labels.to(device, non_blocking=True).long())
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(tuned, 12.0)
            optimiser.step()
            losses.append(float(loss.detach()))
            if between and step + 1 in between.steps:
                _measure(network, between, step + 1)
            if keeper:
                extra, pauses = between.state() if between else "", step + 1 == until
                keeper.keep(network, optimiser, losses, extra=extra, now=pauses)
            report(step + 1, losses[-1])
    network.eval()
    return losses[:until]


def _measure(network: nn.Module, between: Between, step: int) -> None:
    device = next(network.parameters()).device
    network.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        between.after(step)
    network.train()


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: linear warm-up over a tenth of the steps, then cosine decay to 0."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))
