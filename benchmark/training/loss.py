"""The loss of fine-tuning: Dice and cross-entropy (MONAI), over the voxels that are annotated."""

import torch
from monai.losses import DiceCELoss, DiceLoss
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
