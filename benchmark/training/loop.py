"""Training loop: seeded batches of patches and AdamW."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    SpatialPadd,
)
from torch import Tensor, nn

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Case
from benchmark.sources.pretrained import Budget
from benchmark.training.loss import training_loss
from benchmark.training.resume import Keeper


def train(
    network: nn.Module,
    cases: Sequence[Case],
    *,
    budget: Budget,
    seed: int,
    report: Callable[[int, float], None] = lambda step, loss: None,
    keeper: Keeper | None = None,
) -> list[float]:
    """Train the parameters that require a gradient.

    Args:
        network: Maps (b, c, D, H, W) to logits (b, k, D, H, W), or to several maps in training mode; changed in place.
        cases: The training cases.
        budget: Steps, batches and learning rate.
        seed: Seed of batch order, crops and augmentation; equal seeds give equal batches for every network.
        report: Called after each step with the step and the loss.
        keeper: Saves the state, and restores that of an interrupted training.

    Returns:
        The loss at each step.
    """
    device = next(network.parameters()).device
    tuned = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(tuned, lr=budget.lr, weight_decay=budget.weight_decay)
    network.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # dropout uses the global generator
        torch.manual_seed(seed)
        losses = keeper.load(network, optimiser) if keeper else []
        done = len(losses)
        for step, (image, labels) in enumerate(islice(batches(cases, budget=budget, seed=seed), done, None), done):
            for group in optimiser.param_groups:
                group["lr"] = budget.lr * schedule(step, budget.steps)
            optimiser.zero_grad(set_to_none=True)
            output = network(image.to(device, memory_format=torch.channels_last_3d))
            loss = training_loss(output, labels.to(device))
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(tuned, 12.0)
            optimiser.step()
            losses.append(float(loss.detach()))
            if keeper:
                keeper.keep(network, optimiser, losses)
            report(step + 1, losses[-1])
    network.eval()
    return losses


def schedule(step: int, steps: int) -> float:
    """Factor of the learning rate: linear warm-up over a tenth of the steps, then cosine decay to 0."""
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm + 1) / (steps - warm + 1)))


def batches(cases: Sequence[Case], *, budget: Budget, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Generate seeded batches: images (b, c, *patch) float32 and labels (b, 1, *patch) int64."""
    rng = np.random.default_rng([seed, 1])
    transform = _patches(budget)
    transform.set_random_state(seed)
    order: list[int] = []
    for _ in range(budget.steps):
        crops = []
        for _ in range(budget.batch):
            order = order or [int(i) for i in rng.permutation(len(cases))]
            crops.append(transform(_item(cases[order.pop()]))[0])
        yield (
            torch.stack([torch.as_tensor(crop["image"]) for crop in crops]).float(),
            torch.stack([torch.as_tensor(crop["labels"]) for crop in crops]).long(),
        )


def _item(case: Case) -> dict[str, Tensor]:
    labels = case.labels[None]
    return {"image": case.image, "labels": labels, "centres": torch.where(labels == IGNORED, 0, labels)}


def _patches(budget: Budget) -> Compose:
    both = ["image", "labels"]
    steps: list[object] = [
        SpatialPadd([*both, "centres"], budget.patch),  # pads a case smaller than the patch with background
        RandCropByPosNegLabeld(both, "centres", budget.patch, pos=1, neg=1, num_samples=1),
    ]
    if budget.augment:
        steps += [RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)]
        steps += [RandScaleIntensityd("image", factors=0.2, prob=0.5), RandShiftIntensityd("image", 0.2, prob=0.5)]
    return Compose(steps)
