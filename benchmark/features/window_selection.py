"""Selection of the windows of a case that go through the network.

    all         every window, so every voxel counts
    foreground  the windows that own a foreground voxel; a case without foreground is forwarded completely

Effects of `foreground` on statistics:

- Foreground voxels, points and moments are the same as with `all`: every foreground voxel is owned by a forwarded
  window, and points are chosen by priorities that do not depend on the policy.
- Background means the background of the forwarded windows, which surrounds the objects. Its class moments, its row of
  the joint, its points, and points uniform over a case (the variety of CC-FV) come only from there.
- `zero_shot_dice` therefore misses false positives in windows without foreground, and the background has less weight in
  every mean over voxels.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from benchmark.core.labels import IGNORED
from benchmark.errors import InputError
from benchmark.features.windows import Place, box

WindowPolicy: TypeAlias = Literal["all", "foreground"]


def choose(places: Sequence[Place], labels: Tensor, policy: WindowPolicy) -> list[Place]:
    """Choose the windows to forward.

    Args:
        places: all windows of a case.
        labels: (D, H, W) integers of the case.
        policy: "all" or "foreground".

    Returns:
        The chosen places in their original order, at least one.

    Raises:
        InputError: if the policy is unknown.

    Example:
        >>> from benchmark.features.windows import Grid
        >>> labels = torch.tensor([0, 0, 0, 0, 1, 0])
        >>> [place.start for place in choose(Grid((6,), (2,), 0.0).places, labels, "foreground")]
        [(4,)]
    """
    if policy not in get_args(WindowPolicy):
        raise InputError(f"`windows` must be one of {', '.join(get_args(WindowPolicy))}, got {policy!r}")
    if policy == "all":
        return list(places)
    foreground = (labels != 0) & (labels != IGNORED)
    return [place for place in places if bool(foreground[box(place.start, place.shape)].any())] or list(places)


def covered(places: Sequence[Place], labels: Tensor) -> Tensor:
    """Mark the voxels of a case with `labels` (D, H, W) that windows own, (D, H, W) bool."""
    seen = torch.zeros(labels.shape, dtype=torch.bool)
    for place in places:
        seen[box(place.start, place.shape)] = True
    return seen
