"""CasePoints: features at sampled voxels of each case, stored on disk in one file per case."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

import torch
from torch import Tensor

from benchmark.statistics.case_files import CaseClasses, Lazy, OpenCase, read_layer, write_layers
from benchmark.statistics.protocol import OwnedWindow
from benchmark.statistics.voxel_sampling import draw_voxels, inside
from benchmark.storage.files import link_or_copy, read_json, write_json, write_tensors

MANIFEST = "case_points.json"


class CasePoints:
    """Features of the last layers at sampled voxels, by case; memory does not grow with the number of cases.

    Voxels are grouped by class, or form one group for the whole image. Each layer uses the voxels of smallest priority
    in each group, up to its count (see `voxel_sampling`): those of a coarse layer are a subset of those of a finer one.

    Args:
        counts: maximum number of voxels per group for each layer, coarse to fine; the last is tap -1.
        groups: labels of the groups; (None,) for the whole image.
        seed: seed of the sampling.
        folder: folder for the files of the cases.
    """

    def __init__(
        self, *, counts: Sequence[int], groups: Sequence[int | None], seed: int = 0, folder: Path | None = None
    ) -> None:
        self.counts = tuple(counts)
        self.groups = tuple(groups)
        self.seed = seed
        self.folder = folder
        self._files: dict[str, Path] = {}
        self._open: OpenCase | None = None

    @property
    def n_layers(self) -> int:
        """Number of layers sampled."""
        return len(self.counts)

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases, sorted."""
        return tuple(sorted(self._files))

    def classes(self, layer: int) -> Sequence[Mapping[int, Tensor]]:
        """Features by class for each case, in the order of `cases`; read from disk on access.

        Args:
            layer: index of the layer; -1 is the finest.

        Returns:
            For each case, (n, d) float32 by label.
        """
        paths = [self._files[case] for case in self.cases]
        return Lazy(len(self._files), lambda at: CaseClasses(paths[at], layer, self.groups, self.counts[layer]))

    def scenes(self, layer: int) -> Sequence[Tensor]:
        """Features of all groups together for each case, in the order of `cases`; read from disk on access.

        Args:
            layer: index of the layer; -1 is the finest.

        Returns:
            For each case, (n, d) float32.
        """
        paths = [self._files[case] for case in self.cases]
        return Lazy(len(self._files), lambda at: read_layer(paths[at], layer))

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Sample the voxels of a case.

        Args:
            case: name of the case.
            labels: (D, H, W) integers.
            seen: (D, H, W) bool, the voxels that windows will cover; None for all.

        Raises:
            ValueError: if the case was added before.
        """
        if case in self._files:
            raise ValueError(f"`case` must be new, got {case!r} twice")
        draws = [
            draw_voxels(labels, group, max(self.counts), seed=self.seed, case=case, seen=seen).positions
            for group in self.groups
        ]
        ranks = torch.cat([torch.arange(len(draw)) for draw in draws])
        rows = [torch.nonzero(ranks < count).squeeze(1) for count in self.counts]
        self._open = OpenCase(torch.cat(draws), rows, sizes=torch.tensor([len(draw) for draw in draws]))

    def update(self, window: OwnedWindow) -> None:
        """Store the features of the sampled voxels that a window owns.

        Args:
            window: a window of the current case.
        """
        opened = self._opened()
        owned = inside(opened.positions, window.start, tuple(window.labels.shape))
        for place, rows in enumerate(opened.rows):
            at = torch.nonzero(owned[rows]).squeeze(1)
            if len(at):
                features = window.at(place - self.n_layers, opened.positions[rows[at]])
                opened.put(place, at, features.float().cpu())

    def end(self, case: str) -> None:
        """Write the file of the current case.

        Args:
            case: name of the current case.

        Raises:
            RuntimeError: if no window covered a sampled voxel.
        """
        opened, self._open = self._opened(), None
        missing = sum(len(rows) - count for rows, count in zip(opened.rows, opened.filled, strict=True))
        if missing:
            raise RuntimeError(f"case {case!r}: {missing} sampled voxels were covered by no window")
        if self.folder is None:
            raise RuntimeError("CasePoints needs a `folder` to store cases")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{quote(case, safe='')}.safetensors"
        common = {"positions": opened.positions, "sizes": opened.sizes}
        write_tensors(path, write_layers(opened.features) | common)
        self._files[case] = path

    def merge(self, other: Self) -> Self:
        """Merge the points of two sets of cases.

        Args:
            other: points of other cases, sampled with the same settings.

        Returns:
            A new statistic on the same files.

        Raises:
            ValueError: if the sampling settings differ, or a case is in both.
        """
        if (self.counts, self.groups, self.seed) != (other.counts, other.groups, other.seed):
            raise ValueError("`other` must be sampled with the same counts, groups and seed")
        if both := sorted(set(self._files) & set(other._files)):
            raise ValueError(f"`other` must not share cases, got {both} in both")
        merged = type(self)(counts=self.counts, groups=self.groups, seed=self.seed, folder=self.folder)
        merged._files = self._files | other._files
        return merged

    def save(self, folder: Path) -> None:
        """Write the files of the cases and a manifest to a folder.

        Args:
            folder: an existing folder.
        """
        for path in self._files.values():
            link_or_copy(path, folder / path.name)
        files = {case: path.name for case, path in self._files.items()}
        values = {"counts": self.counts, "groups": self.groups, "seed": self.seed, "files": files}
        write_json(folder / MANIFEST, values)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Args:
            folder: folder with the manifest.

        Returns:
            The statistic, on the files of that folder.
        """
        values = read_json(folder / MANIFEST)
        points = cls(counts=values["counts"], groups=values["groups"], seed=values["seed"], folder=folder)
        points._files = {case: folder / name for case, name in values["files"].items()}
        return points

    def _opened(self) -> OpenCase:
        if self._open is None:
            raise RuntimeError("CasePoints: `begin` must be called before `update` and `end`")
        return self._open
