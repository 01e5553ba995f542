"""Voxel sampling by a bottom-k sketch, which is independent of windows, order of cases and merges.

Each voxel of a class has an independent uniform priority, drawn in raster order from a generator seeded by (seed, case,
class); the voxels of smallest priority are kept. The sample of a union follows from the samples of its parts. Labels
are read slab by slab, so that memory does not grow with the volume.

Reference: Cohen, Kaplan, "Summarizing data using bottom-k sketches", PODC 2007, doi 10.1145/1281100.1281133.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmark.core.labels import IGNORED
from benchmark.statistics.protocol import VoxelArray

SLAB_DEPTH = 32  # slices that are read together; compressed labels are stored in blocks of 64
BLOCK_VOXELS = 2**19  # voxels whose priorities are drawn together: 4 MB in float64


@dataclass(frozen=True)
class Draw:
    """Sampled voxels, smallest priority first.

    Attributes:
        positions: (n, 3) int64 voxel coordinates, in the array's axis order.
        priorities: (n,) float64 in [0, 1).
        size: number of voxels of the class in the volume, whether or not they may be sampled.
    """

    positions: Tensor
    priorities: Tensor
    size: int


@dataclass
class _Sketch:
    """The voxels of smallest priority among those of one group that were read so far.

    Attributes:
        label: the class; None for all voxels that are not ignored.
        count: number of voxels that are kept.
        generator: generator of the priorities.
        voxels: (n,) int64 flat indices into the volume.
        priorities: (n,) float64.
        size: number of the group's voxels that were read.
    """

    label: int | None
    count: int
    generator: torch.Generator
    voxels: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    priorities: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    size: int = 0

    def add(self, first: int, labels: Tensor, seen: Tensor | None) -> None:
        """Read the next voxels: `labels` (n,) from the flat index `first` on, of which `seen` (n,) bool may be kept."""
        members = labels != IGNORED if self.label is None else labels == self.label
        priorities = torch.rand(int(members.sum()), dtype=torch.float64, generator=self.generator)
        self.size += len(priorities)
        limit = self.priorities[-1] if len(self.priorities) == self.count else torch.inf
        low = torch.nonzero(priorities < limit).squeeze(1)
        if not len(low):
            return
        places = (low if len(priorities) == len(labels) else torch.nonzero(members).squeeze(1)[low]) + first
        low_priorities = priorities[low]
        if seen is not None:
            visible = seen[places - first]
            places, low_priorities = places[visible], low_priorities[visible]
        everything = torch.cat([self.priorities, low_priorities])
        kept = torch.topk(everything, min(self.count, len(everything)), largest=False, sorted=True)
        self.voxels, self.priorities = torch.cat([self.voxels, places])[kept.indices], kept.values


def draw_voxels(
    labels: VoxelArray,
    groups: Sequence[int | None],
    count: int,
    *,
    seed: int,
    case: str,
    seen: VoxelArray | None = None,
) -> list[Draw]:
    """Sample up to `count` voxels of each of several classes of a case, uniformly without replacement.

    Args:
        labels: (D, H, W) integers.
        groups: the classes; None for all voxels that are not ignored.
        count: maximum number of voxels of each.
        seed: seed of the sampling.
        case: the case's name.
        seen: (D, H, W) bool, the voxels that may be sampled; None for all. It does not change priorities, so a seen
            voxel that is sampled from all voxels is also sampled from the seen ones.

    Returns:
        A draw for each group.

    Example:
        >>> labels = torch.tensor([[[0, 1], [1, 1]]])
        >>> [len(draw.positions) for draw in draw_voxels(labels, (1, 2), 2, seed=0, case="a")]
        [2, 0]
    """
    sketches = [_Sketch(label, count, _generator(seed, case, label)) for label in groups]
    plane = int(torch.Size(labels.shape[1:]).numel())
    for top, box in _slabs(labels.shape):
        slab = labels[box].reshape(-1).cpu()
        mask = None if seen is None else seen[box].reshape(-1).cpu()
        for start in range(0, len(slab), BLOCK_VOXELS):
            block = slice(start, start + BLOCK_VOXELS)
            for sketch in sketches:
                sketch.add(top * plane + start, slab[block], None if mask is None else mask[block])
    shape = tuple(labels.shape)
    return [
        Draw(torch.stack(torch.unravel_index(sketch.voxels, shape), dim=1), sketch.priorities, sketch.size)
        for sketch in sketches
    ]


def proportional_counts(per_class: int, sizes: Sequence[int]) -> list[int]:
    """Number of points of each foreground class of a case, in proportion to its voxels.

    The budget of the case is `per_class` times its classes with a voxel. A class gets max(2, round(budget x its voxels
    / foreground voxels)), but not more than it has: 2 is what a covariance needs.

    Args:
        per_class: points per class on average.
        sizes: number of voxels of each foreground class; 0 for one that the case lacks.

    Example:
        >>> proportional_counts(100, [900, 0, 99, 1])
        [270, 0, 30, 1]
    """
    budget, total = per_class * sum(size > 0 for size in sizes), sum(sizes)
    return [min(size, max(2, round(budget * size / total))) if size else 0 for size in sizes]


def _slabs(shape: Sequence[int]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """The first slice of each slab of a volume, and its box."""
    for top in range(0, shape[0], SLAB_DEPTH):
        yield top, (slice(top, min(top + SLAB_DEPTH, shape[0])), *(slice(0, side) for side in shape[1:]))


def _generator(seed: int, case: str, label: int | None) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{case}/{label}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))


def inside(positions: Tensor, start: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Test which positions (n, 3) lie in a box, given by its first voxel and its size; (n,) bool."""
    low = torch.tensor(start)
    return ((positions >= low) & (positions < low + torch.tensor(shape))).all(dim=1)


def on_boundary(labels: VoxelArray, positions: Tensor) -> Tensor:
    """Test which positions (n, 3) have a face neighbour of another class in `labels` (D, H, W); (n,) bool.

    Example:
        >>> on_boundary(torch.tensor([[[0, 0, 1]]]), torch.tensor([[0, 0, 0], [0, 0, 1]])).tolist()
        [False, True]
    """
    boundary = torch.zeros(len(positions), dtype=torch.bool)
    depth = labels.shape[0]
    for top, (slices, *plane) in _slabs(labels.shape):
        mine = (positions[:, 0] >= slices.start) & (positions[:, 0] < slices.stop)
        if mine.any():
            first = max(top - 1, 0)  # with the slices next to the slab, where neighbours lie
            slab = labels[(slice(first, min(slices.stop + 1, depth)), *plane)].cpu()
            boundary[mine] = _differs(slab, positions[mine] - torch.tensor([first, *(0 for _ in plane)]))
    return boundary


def _differs(labels: Tensor, positions: Tensor) -> Tensor:
    own = labels[tuple(positions.T)]
    boundary = torch.zeros(len(positions), dtype=torch.bool)
    for axis, size in enumerate(labels.shape):
        for step in (-1, 1):
            neighbour = positions.clone()
            neighbour[:, axis] = (neighbour[:, axis] + step).clamp(0, size - 1)
            other = labels[tuple(neighbour.T)]
            boundary |= (other != own) & (other != IGNORED)
    return boundary
