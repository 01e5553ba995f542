"""Trilinear gathering in plain torch, the reference implementation for every device."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

# Points per block: 1024 x 128 channels in float32 are half a megabyte, which fits in a cache.
BLOCK_POINTS = 1024


@dataclass(frozen=True)
class Corners:
    """Interpolation corners of points along one axis of a map.

    Attributes:
        low: (n,) int64, lower corner.
        high: (n,) int64, upper corner, clamped to the last.
        weight: (n,) weight of the upper corner; the lower corner has 1 - weight.
    """

    low: Tensor
    high: Tensor
    weight: Tensor


def gather(features: Tensor, points: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate features at points from the corners around each point, (n, d); arguments as in the package."""
    grid = tuple(features.shape[1:])
    flat = features.reshape(features.shape[0], -1)
    dtype = torch.promote_types(features.dtype, torch.float32)
    points = points.to(features.device)
    if grid == tuple(size):
        return flat.index_select(1, _flat_index(list(points.T), grid)).T.to(dtype)
    rows = [_weighted(flat, some, grid, size, dtype) for some in torch.split(points, BLOCK_POINTS)]
    return torch.cat(rows, dim=1).T


def _weighted(flat: Tensor, points: Tensor, grid: Sequence[int], size: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Sums (d, n) over the corners of value times weight."""
    axes = [_corners(points[:, axis], grid[axis], size[axis], dtype) for axis in range(len(grid))]
    total = torch.zeros(flat.shape[0], len(points), dtype=dtype, device=flat.device)
    for choice in product((False, True), repeat=len(grid)):
        ends = list(zip(axes, choice, strict=True))
        index = _flat_index([axis.high if up else axis.low for axis, up in ends], grid)
        weight = torch.stack([axis.weight if up else 1 - axis.weight for axis, up in ends]).prod(dim=0)
        total.addcmul_(flat.index_select(1, index), weight)
    return total


def interpolate_box(features: Tensor, start: Sequence[int], shape: Sequence[int], size: Sequence[int]) -> Tensor:
    """Interpolate features at every voxel of a box, with one small matrix product per axis that is scaled.

    Args:
        features: (d, *map) floating point, as in `gather`.
        start: first voxel of the box.
        shape: number of voxels of the box along each axis.
        size: number of voxels of the volume along each axis.

    Returns:
        (d, *shape) float32 (float64 for a float64 map).

    Example:
        >>> interpolate_box(torch.tensor([[0.0, 4.0]]), (1,), (2,), (4,)).tolist()
        [[1.0, 3.0]]
    """
    dtype = torch.promote_types(features.dtype, torch.float32)
    box = features
    for axis, (first, n) in enumerate(zip(start, shape, strict=True)):
        m = features.shape[axis + 1]
        if m == size[axis]:
            box = box.narrow(axis + 1, first, n)
            continue
        corners = _corners(torch.arange(first, first + n, device=features.device), m, size[axis], dtype)
        weights = torch.zeros(n, m, dtype=dtype, device=features.device)
        rows = torch.arange(n, device=features.device)
        weights.index_put_((rows, corners.low), 1 - corners.weight, accumulate=True)
        weights.index_put_((rows, corners.high), corners.weight, accumulate=True)
        box = torch.tensordot(box.to(dtype), weights, dims=([axis + 1], [1])).movedim(-1, axis + 1)
    return box.to(dtype)


def _corners(points: Tensor, m: int, n: int, dtype: torch.dtype) -> Corners:
    """Corners along one axis, with positions in the map's precision, rounded as in torch's interpolation."""
    scale = torch.tensor(m, dtype=dtype, device=points.device) / n
    u = (scale * (points.to(dtype) + 0.5) - 0.5).clamp(min=0)
    low = u.floor().long().clamp(max=m - 1)
    return Corners(low, (low + 1).clamp(max=m - 1), (u - low).clamp(max=1))


def _flat_index(coordinates: Sequence[Tensor], grid: Sequence[int]) -> Tensor:
    index = torch.zeros_like(coordinates[0])
    for coordinate, n in zip(coordinates, grid, strict=True):
        index = index * n + coordinate
    return index
