"""Features at sampled voxels of each case, for estimates that compare cases, such as CC-FV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from benchmark.statistics.case_storage import LAYER, CaseClasses, CaseRows, CaseStorage
from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Statistic, VoxelArray
from benchmark.statistics.voxel_sampling import draw_voxels, inside, proportional_counts
from benchmark.storage.files import write_tensors

Allocation: TypeAlias = Literal["equal", "proportional"]


@dataclass(frozen=True)
class LayerSamples:
    """Features of one layer at sampled voxels; both sequences list the same cases in the same order.

    Attributes:
        classes: for each case, (n, d) features by label; may include class 0, the background.
        scenes: for each case, (n, d) features at voxels of the whole image.

    Example:
        >>> cases = [{1: torch.zeros(5, 8)}, {1: torch.zeros(4, 8)}]
        >>> LayerSamples(classes=cases, scenes=[torch.zeros(9, 8)] * 2).foreground
        (1,)
        >>> LayerSamples(classes=[{}], scenes=[])
        Traceback (most recent call last):
        ValueError: `scenes` must have as many cases as `classes`, 1, got 0
    """

    classes: Sequence[Mapping[int, Array]]
    scenes: Sequence[Array]

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.scenes):
            raise ValueError(
                f"`scenes` must have as many cases as `classes`, {len(self.classes)}, got {len(self.scenes)}"
            )

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return len(self.classes)

    @property
    def foreground(self) -> tuple[int, ...]:
        """Labels above 0 that occur in any case, sorted."""
        return tuple(sorted({label for case in self.classes for label in case if label > 0}))


@dataclass
class OpenCase:
    """The case that is currently streamed.

    Attributes:
        positions: (n, 3) int64 sampled voxels, sorted by group, then priority.
        rows: for each layer, the indices into `positions` that it uses.
        sizes: (layers, groups) int64, number of voxels that each layer uses in each group.
        features: for each layer, (n, d) float32; empty until a window owns a sampled voxel.
        missing: number of features that no window has given yet.
    """

    positions: Tensor
    rows: list[Tensor]
    sizes: Tensor
    features: list[Tensor]
    missing: int


class CasePoints(CaseStorage):
    """Features of the last layers at sampled voxels, by case, in one file per case.

    Voxels are grouped by class, or form one group for the whole image. Each layer uses the voxels of smallest priority
    in each group, up to its count (see `voxel_sampling`): those of a coarse layer are a subset of those of a finer one.

    Args:
        counts: maximum number of voxels per group for each layer, coarse to fine; the last is tap -1.
        groups: labels of the groups; (None,) for the whole image.
        seed: seed of the sampling.
        allocation: how the voxels are allocated to the groups, as in `CasePointsRequest`.
        folder: folder for the files of the cases.
    """

    settings = ("counts", "groups", "seed", "allocation")
    manifest = "case_points.json"
    suffixes = (".safetensors",)

    def __init__(
        self,
        *,
        counts: Sequence[int],
        groups: Sequence[int | None],
        seed: int = 0,
        allocation: Allocation = "equal",
        folder: Path,
    ) -> None:
        super().__init__(folder=folder)
        self.counts = tuple(counts)
        self.groups = tuple(groups)
        self.seed = seed
        self.allocation = allocation

    @property
    def n_layers(self) -> int:
        """Number of layers sampled."""
        return len(self.counts)

    def classes(self, layer: int) -> Sequence[Mapping[int, Tensor]]:
        """Features (n, d) float32 of a layer by label for each case, in the order of `cases`; read on access."""
        labels = [group for group in self.groups if group is not None]
        return [CaseClasses(path, layer, labels) for path in self._files()]

    def scenes(self, layer: int) -> Sequence[Tensor]:
        """Features (n, d) float32 of a layer in all groups for each case, in the order of `cases`; read on access."""
        return CaseRows(self._files(), layer)

    def begin(self, case: str, labels: VoxelArray, *, seen: VoxelArray | None = None) -> None:
        """Sample the voxels of a case."""
        super().begin(case, labels)
        drawn = draw_voxels(labels, self.groups, self._most, seed=self.seed, case=case, seen=seen)
        counts = torch.tensor([self._group_counts(count, [draw.size for draw in drawn]) for count in self.counts])
        draws = [draw.positions[:most] for draw, most in zip(drawn, counts.amax(dim=0).tolist(), strict=True)]
        lengths = torch.tensor([len(draw) for draw in draws])
        ranks = torch.cat([torch.arange(length) for length in lengths.tolist()])
        limits = counts.repeat_interleave(lengths, dim=1)  # (layers, n)
        rows = [torch.nonzero(ranks < limit).squeeze(1) for limit in limits]
        sizes = torch.minimum(counts, lengths)
        self._open = OpenCase(torch.cat(draws), rows, sizes, [torch.zeros(0, 0)] * len(rows), sum(map(len, rows)))

    def update(self, window: OwnedWindow) -> None:
        """Store the features of the sampled voxels that a window owns."""
        opened: OpenCase = self._opened()
        owned = inside(opened.positions, window.start, tuple(window.labels.shape))
        for place, rows in enumerate(opened.rows):
            at = torch.nonzero(owned[rows]).squeeze(1)
            if not len(at):
                continue
            features = window.at(place - self.n_layers, opened.positions[rows[at]]).float().cpu()
            if not opened.features[place].numel():
                opened.features[place] = features.new_zeros(len(rows), features.shape[1])
            opened.features[place][at] = features
            opened.missing -= len(at)

    def end(self, case: str) -> None:
        """Write the file of the current case.

        Raises:
            RuntimeError: if no window covered a sampled voxel.
        """
        opened: OpenCase = self._opened()
        super().end(case)
        if opened.missing:
            raise RuntimeError(f"case {case!r}: {opened.missing} sampled voxels were covered by no window")
        self.folder.mkdir(parents=True, exist_ok=True)
        layers = {LAYER.format(place - self.n_layers): rows for place, rows in enumerate(opened.features)}
        (path,) = self._paths(case, self.folder)
        write_tensors(path, layers | {"positions": opened.positions, "sizes": opened.sizes})
        self._add({case: self.folder})

    @property
    def _most(self) -> int:
        """The largest number of voxels that a layer may use in a group."""
        if self.allocation == "equal":
            return max(self.counts)
        return max(2, max(self.counts) * max(1, sum(bool(group) for group in self.groups)))

    def _group_counts(self, count: int, sizes: Sequence[int]) -> list[int]:
        """Maximum number of voxels of each group in a layer, for a case with `sizes` voxels in the groups."""
        if self.allocation == "equal":
            return [count] * len(sizes)
        foreground = proportional_counts(count, [size for size, group in zip(sizes, self.groups, strict=True) if group])
        return [foreground.pop(0) if group else count for group in self.groups]

    def _files(self) -> list[Path]:
        return [path for case in self.cases for path in self._paths(case, self._folders[case])]


@dataclass(frozen=True)
class CasePointsRequest:
    """Requests features at points of each class, background included, in each case.

    Attributes:
        counts: maximum number of points per class for each layer, coarse to fine; the last is tap -1. A network with
            fewer taps uses the last counts.
        seed: seed of the sampling.
        allocation: "equal": each class has up to `counts` points; "proportional": a foreground class has points in
            proportion to its voxels, `counts` on average over those of the case (see `proportional_counts`), and the
            background up to `counts`.
    """

    kind: ClassVar[type[Statistic]] = CasePoints
    counts: tuple[int, ...] = (100, 200, 400)
    seed: int = 0
    allocation: Allocation = "equal"

    def __post_init__(self) -> None:
        if not self.counts or min(self.counts) < 1:
            raise ValueError(f"`counts` must be positive and not empty, got {self.counts}")
        if self.allocation not in get_args(Allocation):
            raise ValueError(f'`allocation` must be "equal" or "proportional", got {self.allocation!r}')

    def start(self, context: PassContext) -> CasePoints:
        """An empty statistic for the k classes."""
        counts = self.counts[-len(context.taps) :]
        return CasePoints(
            counts=counts,
            groups=tuple(range(context.k)),
            seed=self.seed,
            allocation=self.allocation,
            folder=context.folder,
        )


@dataclass(frozen=True)
class ScenePointsRequest:
    """Requests features at points sampled uniformly over the voxels of each case.

    Attributes:
        count: maximum number of points per case.
        layers: maximum number of taps, counted from the finest.
        seed: seed of the sampling.
    """

    kind: ClassVar[type[Statistic]] = CasePoints
    count: int = 1000
    layers: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.layers < 1:
            raise ValueError(f"`count` and `layers` must be positive, got {self.count} and {self.layers}")

    def start(self, context: PassContext) -> CasePoints:
        """An empty statistic for the whole image."""
        counts = (self.count,) * min(self.layers, len(context.taps))
        return CasePoints(counts=counts, groups=(None,), seed=self.seed, folder=context.folder)
