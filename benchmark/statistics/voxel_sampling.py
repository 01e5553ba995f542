"""Voxel sampling by a bottom-k sketch, which is independent of windows, order of cases and merges.

Each voxel of a class has an independent uniform priority, drawn in raster order from a generator seeded by (seed, case,
class); the voxels of smallest priority are kept. The sample of a union follows from the samples of its parts.

Reference: Cohen, Kaplan, "Summarizing data using bottom-k sketches", PODC 2007, doi 10.1145/1281100.1281133.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.core.labels import IGNORED


@dataclass(frozen=True)
class Draw:
    """Sampled voxels, smallest priority first.

    Attributes:
        positions: (n, 3) int64 voxel coordinates, in the array's axis order.
        priorities: (n,) float64 in [0, 1).
    """

    positions: Tensor
    priorities: Tensor


def draw_voxels(
    labels: Tensor, label: int | None, count: int, *, seed: int, case: str, seen: Tensor | None = None
) -> Draw:
    """Sample up to `count` voxels of one class of a case, uniformly without replacement.

    Args:
        labels: (D, H, W) integers.
        label: the class; None for all voxels that are not ignored.
        count: maximum number of voxels.
        seed: seed of the sampling.
        case: the case's name.
        seen: (D, H, W) bool, the voxels that may be sampled; None for all. It does not change priorities, so a seen
            voxel that is sampled from all voxels is also sampled from the seen ones.

    Example:
        >>> labels = torch.tensor([[[0, 1], [1, 1]]])
        >>> draw_voxels(labels, 1, 2, seed=0, case="a").positions.shape
        torch.Size([2, 3])
        >>> draw_voxels(labels, 2, 2, seed=0, case="a").positions.shape
        torch.Size([0, 3])
    """
    flat = labels.reshape(-1).cpu()
    known = flat != IGNORED if label is None else flat == label
    members = None if label is None and bool(known.all()) else torch.nonzero(known).squeeze(1)
    n = flat.numel() if members is None else members.numel()
    priorities = torch.rand(n, dtype=torch.float64, generator=_generator(seed, case, label))
    if seen is not None:
        members = torch.arange(n) if members is None else members
        visible = seen.reshape(-1).cpu()[members]
        members, priorities = members[visible], priorities[visible]
    kept = torch.topk(priorities, min(count, len(priorities)), largest=False, sorted=True)
    chosen = kept.indices if members is None else members[kept.indices]
    return Draw(torch.stack(torch.unravel_index(chosen, labels.shape), dim=1), kept.values)


def _generator(seed: int, case: str, label: int | None) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{case}/{label}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def inside(positions: Tensor, start: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Test which positions (n, 3) lie in a box, given by its first voxel and its size; (n,) bool."""
    low = torch.tensor(start)
    return ((positions >= low) & (positions < low + torch.tensor(shape))).all(dim=1)


def on_boundary(labels: Tensor, positions: Tensor) -> Tensor:
    """Test which positions (n, 3) have a face neighbour of another class in `labels` (D, H, W); (n,) bool.

    Example:
        >>> on_boundary(torch.tensor([[[0, 0, 1]]]), torch.tensor([[0, 0, 0], [0, 0, 1]])).tolist()
        [False, True]
    """
    own = labels[tuple(positions.T)]
    boundary = torch.zeros(len(positions), dtype=torch.bool)
    for axis, size in enumerate(labels.shape):
        for step in (-1, 1):
            neighbour = positions.clone()
            neighbour[:, axis] = (neighbour[:, axis] + step).clamp(0, size - 1)
            other = labels[tuple(neighbour.T)]
            boundary |= (other != own) & (other != IGNORED)
    return boundary
