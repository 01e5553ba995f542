"""Storage of CasePoints: the current case in memory, and finished cases on disk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, overload

import torch
from safetensors import safe_open
from torch import Tensor

Item = TypeVar("Item")


@dataclass
class OpenCase:
    """The case that is currently streamed.

    Attributes:
        positions: (n, 3) int64 sampled voxels, sorted by group, then priority.
        rows: for each layer, the indices into `positions` that it uses.
        sizes: (groups,) int64, number of voxels in each group.
        features: for each layer, (n, d) float32; empty until the first window.
        filled: for each layer, the number of rows stored so far.
    """

    positions: Tensor
    rows: list[Tensor]
    sizes: Tensor
    features: list[Tensor] = field(init=False)
    filled: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.features = [torch.zeros(0, 0) for _ in self.rows]
        self.filled = [0 for _ in self.rows]

    def put(self, place: int, at: Tensor, features: Tensor) -> None:
        """Store the features of some rows of a layer.

        Args:
            place: index of the layer.
            at: (n,) int64, rows of the layer.
            features: (n, d) float32.
        """
        if not self.features[place].numel():
            self.features[place] = features.new_zeros(len(self.rows[place]), features.shape[1])
        self.features[place][at] = features
        self.filled[place] += len(at)


class Lazy(Sequence[Item], Generic[Item]):
    """A sequence whose items are computed on access and not stored.

    Args:
        length: number of items.
        make: returns the item at an index.

    Example:
        >>> list(Lazy(3, lambda at: at * 10))
        [0, 10, 20]
    """

    def __init__(self, length: int, make: Callable[[int], Item]) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> "Lazy[Item]": ...
    def __getitem__(self, at: int | slice) -> "Item | Lazy[Item]":
        places = range(self._length)[at]
        if isinstance(places, range):
            return Lazy(len(places), lambda i: self._make(places[i]))
        return self._make(places)


class CaseClasses(Mapping[int, Tensor]):
    """Features of one layer of one case by label, read from its file on access.

    Args:
        path: file of the case.
        layer: index of the layer; -1 is the finest.
        groups: labels, in the order of the groups in the file.
        count: maximum number of rows per group.
    """

    def __init__(self, path: Path, layer: int, groups: Sequence[int | None], count: int) -> None:
        self._path = path
        self._layer = layer
        self._groups = [group for group in groups if group is not None]
        self._count = count

    def __getitem__(self, label: int) -> Tensor:
        if label not in self._groups:
            raise KeyError(label)
        place = self._groups.index(label)
        with safe_open(self._path, framework="pt") as file:
            sizes = file.get_tensor("sizes").clamp(max=self._count)
            first = int(sizes[:place].sum())
            rows: Tensor = file.get_slice(_key(self._layer))[first : first + int(sizes[place])]
        return rows

    def __iter__(self) -> Iterator[int]:
        return iter(self._groups)

    def __len__(self) -> int:
        return len(self._groups)


def write_layers(features: Sequence[Tensor]) -> dict[str, Tensor]:
    """Name the tensors of the layers for a case's file.

    Args:
        features: (n, d) for each layer, coarse to fine.

    Returns:
        Tensors by name.
    """
    return {_key(place - len(features)): rows for place, rows in enumerate(features)}


def read_layer(path: Path, layer: int) -> Tensor:
    """Read all rows of one layer of one case.

    Args:
        path: file of the case.
        layer: index of the layer; -1 is the finest.

    Returns:
        (n, d) float32.
    """
    with safe_open(path, framework="pt") as file:
        rows: Tensor = file.get_tensor(_key(layer))
    return rows


def _key(layer: int) -> str:
    return f"features{layer}"
