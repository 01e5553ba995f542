"""Storage of statistics that keep files for each case: their base class, and rows that are read on access."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, Self, overload
from urllib.parse import quote

from safetensors import safe_open
from torch import Tensor

from benchmark.statistics.protocol import Statistic, check_mergeable
from benchmark.storage.files import link_or_copy, read_json, write_json

LAYER = "features{}"  # name of a layer's tensor in the file of a case; -1 is the finest layer


class CaseStorage(Statistic):
    """Base of the statistics that keep files for each case; memory does not grow with the number of cases.

    Args:
        folder: folder for the files of new cases.

    Attributes:
        manifest: name of the file that lists the cases of a saved statistic.
        suffixes: suffixes of the files of a case.
    """

    manifest: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    def __init__(self, *, folder: Path) -> None:
        self.folder = folder
        self._folders: Mapping[str, Path] = {}

    def merge(self, other: Self) -> Self:
        """Merge two sets of cases into a new statistic on the same files.

        Raises:
            ValueError: if the settings differ, or a case is in both.
        """
        check_mergeable(self, other, self.settings)
        merged = copy(self)
        merged._add(other._folders)
        return merged

    def save(self, folder: Path) -> None:
        """Write the files of the cases and a manifest to an existing folder."""
        files = {case: self._paths(case, place) for case, place in self._folders.items()}
        for path in chain.from_iterable(files.values()):
            link_or_copy(path, folder / path.name)
        names = {case: [path.name for path in paths] for case, paths in files.items()}
        listed = {case: paths[0] if len(paths) == 1 else paths for case, paths in names.items()}
        write_json(folder / self.manifest, self._values() | {"files": listed})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the statistic uses the files of that folder."""
        values = read_json(folder / cls.manifest)
        cases = values.pop("files")
        stored = cls(folder=folder, **values)
        stored._add(dict.fromkeys(cases, folder))
        return stored

    def _add(self, folders: Mapping[str, Path]) -> None:
        self._folders = {**self._folders, **folders}
        self.cases = tuple(sorted(self._folders))

    def _paths(self, case: str, folder: Path) -> list[Path]:
        return [folder / f"{quote(case, safe='')}{suffix}" for suffix in self.suffixes]


@dataclass(frozen=True)
class CaseRows(Sequence[Tensor]):
    """Rows (n, d) float32 of one layer for each case, read from its file on access.

    Attributes:
        paths: files of the cases.
        layer: index of the layer; -1 is the finest.
    """

    paths: Sequence[Path]
    layer: int

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> Tensor: ...
    @overload
    def __getitem__(self, at: slice) -> "CaseRows": ...
    def __getitem__(self, at: int | slice) -> "Tensor | CaseRows":
        if isinstance(at, slice):
            return CaseRows(self.paths[at], self.layer)
        with safe_open(self.paths[at], framework="pt") as file:
            rows: Tensor = file.get_tensor(LAYER.format(self.layer))
        return rows


@dataclass(frozen=True)
class CaseClasses(Mapping[int, Tensor]):
    """Rows (n, d) float32 of one layer of one case by label, read from its file on access.

    Attributes:
        path: file of the case.
        layer: index of the layer; -1 is the finest.
        labels: the classes, in the order of the file.
    """

    path: Path
    layer: int
    labels: Sequence[int]

    def __getitem__(self, label: int) -> Tensor:
        if label not in self.labels:
            raise KeyError(label)
        place = self.labels.index(label)
        with safe_open(self.path, framework="pt") as file:
            sizes = file.get_tensor("sizes")[self.layer]
            first = int(sizes[:place].sum())
            rows: Tensor = file.get_slice(LAYER.format(self.layer))[first : first + int(sizes[place])]
        return rows

    def __iter__(self) -> Iterator[int]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)
