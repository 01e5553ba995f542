"""Training loss: Dice and cross-entropy (MONAI) over annotated voxels, with deep supervision."""

from collections.abc import Mapping
from typing import cast

import torch
from monai.losses import DeepSupervisionLoss, DiceLoss
from monai.networks import one_hot
from torch import Tensor

from benchmark.core.labels import IGNORED


def dice_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """The training loss of one map: Dice over the batch plus cross-entropy, without ignored voxels.

    Args:
        logits: (b, k, D, H, W); computed with as float32.
        labels: (b, 1, D, H, W) int64; IGNORED for voxels without annotation.

    Example:
        >>> logits = torch.zeros(1, 2, 2, 2, 2)
        >>> bool(dice_ce(logits, torch.full((1, 1, 2, 2, 2), IGNORED)).isfinite())
        True
    """
    logits = logits.float()
    known = labels != IGNORED
    if bool(known.all()):
        overlap: Tensor = DiceLoss(softmax=True, to_onehot_y=True, batch=True)(logits, labels)
    else:
        truth = one_hot(labels.masked_fill(~known, 0), logits.shape[1]) * known
        overlap = DiceLoss(batch=True)(logits.softmax(1) * known, truth)
    # summed here: the sum inside cross_entropy has no deterministic implementation on CUDA
    entropy = torch.nn.functional.cross_entropy(logits, labels[:, 0], ignore_index=IGNORED, reduction="none").sum()
    return overlap + entropy / known.sum().clamp_min(1)


def training_loss(output: object, labels: Tensor) -> Tensor:
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
    return cast("Tensor", supervised(maps, labels.float()))  # torch cannot resize integers


def _maps(output: object, ndim: int) -> list[Tensor]:
    """Collect the maps of logits in the output of a network, in order."""
    if isinstance(output, Tensor):
        if output.ndim == ndim + 1:
            return list(output.unbind(1))
        return [output] if output.ndim == ndim else []
    inner = output.values() if isinstance(output, Mapping) else output if isinstance(output, list | tuple) else ()
    return [logits for part in inner for logits in _maps(part, ndim)]
