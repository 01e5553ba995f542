"""Windows over a volume: their positions, the voxels that each owns, and the features at those voxels.

Windows overlap; each voxel is counted once, in the window whose centre is nearest (the first of two equally near). The
windows form a grid, so the nearest centre is the nearest along each axis, and each window owns a box.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

import torch
from torch import Tensor

from benchmark.core.backend import Backend
from benchmark.core.gather import gather, interpolate_box
from benchmark.core.labels import counted
from benchmark.data.files.cases import BoxReader
from benchmark.statistics.protocol import VoxelArray

Triple = tuple[int, ...]

# Values of the softmax that are computed together, 4 MB in float32, so that memory does not grow with source classes; a
# GPU needs larger blocks to be busy
BLOCK_VALUES = {"cpu": 2**20, "cuda": 2**26}


@dataclass(frozen=True)
class Place:
    """Position of one window of a grid.

    Attributes:
        first: first voxel of the window in the padded volume.
        start: first owned voxel in the volume.
        shape: number of owned voxels along each axis.
        offset: first owned voxel within the window.
    """

    first: Triple
    start: Triple
    shape: Triple
    offset: Triple


@dataclass(frozen=True)
class Grid:
    """Grid of windows over a volume.

    Args:
        shape: voxels of the volume along each axis.
        patch: voxels of a window along each axis.
        overlap: minimum share of a window that its neighbour covers, in [0, 1).

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> [(place.start, place.shape) for place in Grid((5,), (4,), 0.5).places]
        [((0,), (3,)), ((3,), (2,))]
    """

    shape: Triple
    patch: Triple
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.patch) or min(self.patch) < 1 or min(self.shape) < 1:
            raise ValueError(f"`patch` must be positive along each axis of {self.shape}, got {self.patch}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"`overlap` must be in [0, 1), got {self.overlap}")

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels added before and after each axis of a volume that is smaller than a window, split evenly."""
        missing = [max(p - n, 0) for n, p in zip(self.shape, self.patch, strict=True)]
        return tuple((gap // 2, gap - gap // 2) for gap in missing)

    @property
    def places(self) -> list[Place]:
        """All windows in raster order; their owned boxes cover the volume exactly once."""
        axes = [
            _axis_places(n, patch, self.overlap, before)
            for n, patch, (before, _) in zip(self.shape, self.patch, self.padding, strict=True)
        ]
        return [Place(*(tuple(field) for field in zip(*choice, strict=True))) for choice in product(*axes)]


def _axis_places(n: int, patch: int, overlap: float, before: int) -> list[tuple[int, int, int, int]]:
    """First voxel, first owned voxel, number of owned voxels and offset of each window along an axis of n voxels."""
    if n <= patch:
        return [(0, 0, n, before)]
    firsts = [*range(0, n - patch, max(int(patch * (1 - overlap)), 1)), n - patch]
    # the centres of windows at a and b are equally far from (a + b + patch - 1) / 2
    bounds = [0, *((a + b + patch - 1) // 2 + 1 for a, b in pairwise(firsts)), n]
    return [(first, low, high - low, low - first) for first, (low, high) in zip(firsts, pairwise(bounds), strict=True)]


def read_window(case: BoxReader, place: Place, grid: Grid) -> Tensor:
    """Read the window at a place, (c, *patch), padded with zeros along an axis where the case is smaller."""
    read = [
        slice(first, first + side) if n > side else slice(0, n)
        for first, side, n in zip(place.first, grid.patch, grid.shape, strict=True)
    ]
    image = case.read_image(tuple(read))
    widths = [width for pair in reversed(grid.padding) for width in pair]
    return torch.nn.functional.pad(image, widths) if any(widths) else image


def batches(
    case: BoxReader, grid: Grid, places: Sequence[Place], size: int
) -> Iterator[tuple[Sequence[Place], Tensor]]:
    """Stack the windows at some places of a case into batches of up to `size`, (b, c, *patch); no others are read."""
    for first in range(0, len(places), size):
        chosen = places[first : first + size]
        yield chosen, torch.stack([read_window(case, place, grid) for place in chosen])


class Window:
    """Labels, predictions and features of the tapped layers at the voxels that a window owns.

    Args:
        case: name of the case.
        place: position of the window and its owned box.
        labels: (D, H, W) of the whole volume, of which the owned box is read.
        output: (z, *patch) logits of the whole window.
        maps: (d, *map) for each tap over the whole window, coarse to fine.
        stages: (d, *map) for each stage over the whole window, by the name of its module.
        backend: "auto", "torch" or "triton", for gathering features at points.

    Attributes:
        start: first owned voxel in the volume.
        labels: (D, H, W) of the owned box, on the device of the output.
    """

    def __init__(
        self,
        case: str,
        place: Place,
        labels: VoxelArray,
        *,
        output: Tensor,
        maps: Sequence[Tensor],
        stages: Mapping[str, Tensor] | None = None,
        backend: Backend = "auto",
    ) -> None:
        self.case = case
        self.start = place.start
        self.labels = labels[box(place.start, place.shape)].to(output.device)
        self._place = place
        self._output = output
        self._size = tuple(output.shape[1:])
        self._maps = maps
        self._stages = stages or {}
        self._backend: Backend = backend
        self._dense: dict[int, Tensor] = {}
        self._predictions: list[tuple[Tensor, Tensor]] | None = None

    @property
    def z(self) -> int:
        """Source classes; 0 without a head."""
        return len(self._output)

    def predictions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Softmax (n, z) float32 and labels (n,) of the owned voxels except ignored ones, in raster order.

        They come in blocks of limited size; a single block is cached.
        """
        if self._predictions is not None:
            yield from self._predictions
            return
        logits = self._output[(slice(None), *box(self._place.offset, self._place.shape))]
        limit = BLOCK_VALUES.get(logits.device.type, BLOCK_VALUES["cuda"])
        parts = list(_parts(self._place.shape, max(limit // max(len(logits), 1), 1)))
        for part in parts:
            softmax = logits[(slice(None), *part)].float().softmax(dim=0)
            block = counted(softmax.flatten(1).T, self.labels[part].reshape(-1))
            if len(parts) == 1:
                self._predictions = [block]
            yield block

    def logits_at(self, points: Tensor) -> Tensor:
        """Logits (n, z) float32 at owned voxels (n, 3), int64 coordinates in the volume."""
        local = self._local(points).to(self._output.device)
        return self._output[(slice(None), *local.T)].T.float()

    def dense(self, layer: int) -> Tensor:
        """Features (n, d) float32 of a tapped layer at every owned voxel in raster order, cached.

        A layer that is coarser than the window is interpolated trilinearly.
        """
        if layer not in self._dense:
            values = interpolate_box(self._maps[layer], self._place.offset, self._place.shape, self._size)
            self._dense[layer] = values.flatten(1).T
        return self._dense[layer]

    def at(self, layer: int, points: Tensor) -> Tensor:
        """Features (n, d) float32 of a tapped layer at owned voxels (n, 3), int64 coordinates in the volume."""
        return gather(self._maps[layer], self._local(points), self._size, backend=self._backend)

    def at_stage(self, name: str, points: Tensor) -> Tensor:
        """Features (n, d) float32 of a stage, by the name of its module, at owned voxels (n, 3)."""
        return gather(self._stages[name], self._local(points), self._size, backend=self._backend)

    def _local(self, points: Tensor) -> Tensor:
        return points - points.new_tensor(self.start) + points.new_tensor(self._place.offset)


def _parts(shape: Triple, voxels: int) -> Iterator[tuple[slice, ...]]:
    """Cut a box into parts of about so many voxels, in raster order: whole slices, or rows of one slice."""
    depth, height, *rest = shape
    row = prod(rest)
    slices = max(voxels // (height * row), 1)
    rows = height if voxels >= height * row else max(voxels // row, 1)
    for top, left in product(range(0, depth, slices), range(0, height, rows)):
        yield slice(top, min(top + slices, depth)), slice(left, min(left + rows, height))


def box(start: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """Slices of a box, from its first voxel and its shape."""
    return tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
