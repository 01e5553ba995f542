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
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from benchmark.core.labels import foreground
from benchmark.errors import InputError, check_whole, is_whole
from benchmark.features.windows import Place, box
from benchmark.statistics.protocol import VoxelArray

WindowPolicy: TypeAlias = Literal["all", "foreground"]


def check_windows(*, window: Sequence[int], overlap: float, batch: int, windows: str) -> None:
    """Check the settings of windows, whatever the network and the case.

    Raises:
        InputError: One is invalid.
    """
    if len(window) != 3 or not all(is_whole(side, least=1) for side in window):
        raise InputError(f"stream.window must be three positive whole numbers, got {list(window)}")
    if not 0 <= overlap < 1:
        raise InputError(f"stream.overlap must be at least 0 and below 1, got {overlap}")
    check_whole("stream.batch", batch, least=1)
    if windows not in get_args(WindowPolicy):
        raise InputError(f"stream.windows must be one of {', '.join(get_args(WindowPolicy))}, got {windows}")


def choose(places: Sequence[Place], labels: VoxelArray, policy: WindowPolicy) -> list[Place]:
    """Choose the windows to forward.

    Args:
        places: all windows of a case.
        labels: (D, H, W) integers of the case; read for `foreground` only, window by window.
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
    return [place for place in places if foreground(labels[box(place.start, place.shape)]).any()] or list(places)


@dataclass(frozen=True)
class Covered:
    """The voxels of a volume that windows own, (D, H, W) bool, computed for a box when indexed.

    Attributes:
        places: the windows.
        shape: (D, H, W) voxels of the volume.

    Example:
        >>> from benchmark.features.windows import Grid
        >>> Covered(Grid((5,), (4,), 0.5).places[:1], (5,))[(slice(1, 5),)].tolist()
        [True, True, False, False]
    """

    places: Sequence[Place]
    shape: tuple[int, ...]

    def __getitem__(self, at: tuple[slice, ...]) -> Tensor:
        covered = torch.zeros([side.stop - side.start for side in at], dtype=torch.bool)
        for place in self.places:
            covered[
                tuple(
                    slice(max(first - side.start, 0), max(first + n - side.start, 0))
                    for first, n, side in zip(place.start, place.shape, at, strict=True)
                )
            ] = True
        return covered
