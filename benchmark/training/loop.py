"""Training loop: seeded batches of patches, Dice and cross-entropy (MONAI), AdamW; its state is saved to resume it."""

import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from monai.networks import one_hot
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
from benchmark.errors import InputError
from benchmark.sources.pretrained import Budget
from benchmark.storage.files import partial_file


@dataclass
class Keeper:
    """Saves the state of a training to a file.

    Batches need no state: they are a function of the seed, and a resumed training skips those already seen.

    Attributes:
        path: The file; written to a temporary name, fsynced and renamed.
        every: Seconds between two saves.
        extra: Further state that a loop passed to `keep`; set by `load`.
    """

    path: Path
    every: float = 60.0
    extra: str = field(default="", init=False)
    _last: float = field(default_factory=time.monotonic, init=False)

    def load(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> list[float]:
        """Restore a saved state and return the losses of the finished steps, an empty list without a saved state.

        Raises:
            InputError: The file is corrupt or belongs to another network; it is deleted.
        """
        if not self.path.is_file():
            return []
        device = next(network.parameters()).device
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["random"][0].cpu())
            if device.type == "cuda" and len(state["random"]) > 1:
                torch.cuda.set_rng_state(state["random"][1].cpu(), device)
            self.extra = state["beside"]
            return list(state["losses"])
        except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            detail = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.path.unlink()
            raise InputError(f"corrupt training checkpoint {self.path} ({detail}); deleted, run again to train from "
                             "scratch") from error  # fmt: skip

    def keep(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, losses: Sequence[float], *, extra: str = ""
    ) -> None:
        """Save the state if `every` seconds have passed since the last save."""
        if time.monotonic() - self._last < self.every:
            return
        device = next(network.parameters()).device
        on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
        state: dict[str, Any] = {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "random": [torch.get_rng_state(), *on_gpu],
            "losses": list(losses),
            "beside": extra,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with partial_file(self.path) as partial:
            torch.save(state, partial)
        self._last = time.monotonic()


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


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """The training loss of one map: Dice over the batch plus cross-entropy, without ignored voxels.

    Args:
        logits: (b, k, D, H, W) float32.
        labels: (b, 1, D, H, W) int64; IGNORED for voxels without annotation.

    Example:
        >>> logits = torch.zeros(1, 2, 2, 2, 2)
        >>> bool(dice_ce(logits, torch.full((1, 1, 2, 2, 2), IGNORED)).isfinite())
        True
    """
    known = labels != IGNORED
    if bool(known.all()):
        loss: Tensor = DiceCELoss(softmax=True, to_onehot_y=True, batch=True)(logits, labels)
        return loss
    truth = one_hot(labels.masked_fill(~known, 0), logits.shape[1]) * known
    overlap: Tensor = DiceLoss(batch=True)(logits.softmax(1) * known, truth)
    entropy = torch.nn.functional.cross_entropy(logits, labels[:, 0], ignore_index=IGNORED, reduction="sum")
    return overlap + entropy / known.sum().clamp_min(1)


def training_loss(output: Any, labels: Tensor) -> Tensor:
    """`dice_ce` of the output of a network in training mode, including deeply supervised networks.

    For several maps of logits, finest first, the loss is w_0 l_0 + w_1 l_1 + ... with MONAI's weights 1, 1/2, 1/4, ...
    (at least 1/16). Labels are resized to a coarser map by nearest neighbour.

    Args:
        output: (b, k, D, H, W) logits; a list, tuple or mapping of such maps; or maps of equal size stacked along the
            second axis, (b, n, k, D, H, W), as MONAI's DynUNet returns them. Other outputs, such as the loss of
            SegResNetVAE's second branch or maps with another number of channels, are ignored.
        labels: (b, 1, D, H, W) int64; IGNORED for voxels without annotation.

    Raises:
        TypeError: The output contains no logits.
    """
    if isinstance(output, Tensor) and output.ndim == labels.ndim:
        return dice_ce(output, labels)
    maps = sorted(_maps(output, labels.ndim), key=lambda logits: logits.shape[2:].numel(), reverse=True)  # stable
    if not maps:
        raise TypeError(f"`output` must hold logits (b, k, D, H, W), got {type(output).__name__}")
    maps = [logits for logits in maps if logits.shape[1] == maps[0].shape[1]]
    supervised = DeepSupervisionLoss(lambda logits, truth: dice_ce(logits, truth.long()))
    loss: Tensor = supervised(maps, labels.float())  # torch cannot resize integers
    return loss


def _maps(output: Any, ndim: int) -> list[Tensor]:
    """Collect the maps of logits in the output of a network, in order."""
    if isinstance(output, Tensor):
        if output.ndim == ndim + 1:
            return list(output.unbind(1))
        return [output] if output.ndim == ndim else []
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return [logits for part in inner for logits in _maps(part, ndim)]
