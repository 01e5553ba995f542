"""The loss of fine-tuning: Dice and cross-entropy (MONAI), over the voxels that are annotated."""

from collections.abc import Mapping
from typing import Any

import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss, DiceLoss
from monai.networks import one_hot
from torch import Tensor

from benchmark.core.labels import IGNORED


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Dice over the batch plus cross-entropy; ignored voxels are in neither.

    Args:
        logits: (b, k, D, H, W) float32.
        labels: (b, 1, D, H, W) int64, IGNORED where nothing is known.

    Returns:
        The loss, a scalar.

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
    surprise = torch.nn.functional.cross_entropy(logits, labels[:, 0], ignore_index=IGNORED, reduction="sum")
    return overlap + surprise / known.sum().clamp_min(1)


def training_loss(output: Any, labels: Tensor) -> Tensor:
    """`dice_ce` of what a network returns in training mode, deeply supervised networks included.

    Of several maps of logits the loss is w_0 l_0 + w_1 l_1 + ..., finest map first, with MONAI's weights 1, 1/2, 1/4,
    ... (at least 1/16); the labels of a coarser map are those of the nearest voxels.

    Args:
        output: (b, k, D, H, W) logits; a list, tuple or mapping that holds such maps; or maps of one size stacked along
            the second axis, (b, n, k, D, H, W), as MONAI's DynUNet returns them. Other outputs, such as the loss of
            SegResNetVAE's second branch or maps of another number of channels, are left out.
        labels: (b, 1, D, H, W) int64, IGNORED where nothing is known.

    Returns:
        The loss, a scalar.

    Raises:
        TypeError: The output holds no map of logits.
    """
    if isinstance(output, Tensor) and output.ndim == labels.ndim:
        return dice_ce(output, labels)
    maps = sorted(_maps(output, labels.ndim), key=lambda one: one.shape[2:].numel(), reverse=True)  # stable
    if not maps:
        raise TypeError(f"`output` must hold logits (b, k, D, H, W), got {type(output).__name__}")
    maps = [one for one in maps if one.shape[1] == maps[0].shape[1]]
    supervised = DeepSupervisionLoss(lambda logits, truth: dice_ce(logits, truth.long()))
    loss: Tensor = supervised(maps, labels.float())  # torch resizes no integers
    return loss


def _maps(output: Any, ndim: int) -> list[Tensor]:
    """The maps of logits in whatever a network returns, in their order."""
    if isinstance(output, Tensor):
        if output.ndim == ndim + 1:
            return list(output.unbind(1))
        return [output] if output.ndim == ndim else []
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return [one for part in inner for one in _maps(part, ndim)]
