"""StoredSoftmax: the source's softmax of every voxel, stored on disk as float16 to be read again.

Some estimates apply a function that is not linear, such as LEEP's logarithm, to sums over source classes that depend on
the complete joint, so they read the stored softmax in place of a second forward pass. That takes two bytes for each
source class and voxel; above `KEPT_CLASSES` classes it is not stored, and those estimates need the second pass.

float16 keeps 3 digits and nothing below 6e-8. Rows are divided by their sum when they are read, which takes away most
of the error: the rounding of a probability near 1 is larger than all other probabilities of a confident prediction.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.statistics.case_storage import CaseStorage
from benchmark.statistics.protocol import OwnedWindow, PassContext, Statistic, VoxelArray

KEPT_CLASSES = 20  # source classes up to which the softmax of every voxel is stored
BLOCK_VALUES = 2**20  # values that are read together: 4 MB in float32


@dataclass(frozen=True)
class SoftmaxRows:
    """A block of voxels of one case.

    Attributes:
        case: name of the case.
        softmax: (n, z) float32.
        labels: (n,) int64.
    """

    case: str
    softmax: Tensor
    labels: Tensor


class StoredSoftmax(CaseStorage):
    """Softmax (n, z) float16 and labels (n,) uint8 of the covered voxels of each case, in the order of its windows.

    Args:
        z: source classes.
        first: number of leading classes that are stored; None for all.
        folder: folder for the files of the cases.
    """

    settings = ("z", "first")
    manifest = "softmax.json"
    suffixes = (".softmax", ".labels")

    def __init__(self, z: int, *, first: int | None = None, folder: Path) -> None:
        super().__init__(folder=folder)
        self.z = z
        self.first = first

    def rows(self, case: str | None = None) -> Iterator[SoftmaxRows]:
        """Read the voxels that windows covered, except ignored ones, block by block and case by case.

        Args:
            case: read only this case; None for all.

        Raises:
            KeyError: if the case is unknown.
        """
        columns = self.z if self.first is None else self.first
        count = max(BLOCK_VALUES // columns, 1)
        for name in self.cases if case is None else (case,):
            probabilities, targets = self._paths(name, self._folders[name])
            with probabilities.open("rb") as values, targets.open("rb") as labels:
                while chunk := labels.read(count):
                    known = np.frombuffer(chunk, dtype=np.uint8).astype(np.int64)
                    half = np.frombuffer(bytearray(values.read(2 * columns * len(known))), dtype=np.float16)
                    softmax = torch.from_numpy(half.reshape(len(known), columns)).float()
                    if self.first is None:
                        softmax /= softmax.sum(dim=1, keepdim=True)
                    yield SoftmaxRows(name, softmax, torch.from_numpy(known))

    def begin(self, case: str, labels: VoxelArray, *, seen: VoxelArray | None = None) -> None:
        """Open the files of a case."""
        super().begin(case, labels, seen=seen)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open = [path.open("wb") for path in self._paths(case, self.folder)]

    def update(self, window: OwnedWindow) -> None:
        """Write the voxels that a window owns, except ignored ones."""
        files: list[BinaryIO] = self._opened()
        for softmax, labels in window.predictions():
            files[0].write(softmax[:, : self.first].half().contiguous().cpu().numpy().data)
            files[1].write(labels.to(torch.uint8).contiguous().cpu().numpy().data)

    def end(self, case: str) -> None:
        """Close the files of a case."""
        for file in self._opened():
            file.close()
        super().end(case)
        self._add({case: self.folder})


@dataclass(frozen=True)
class SoftmaxRequest:
    """Requests the source's softmax of every voxel, stored on disk.

    Attributes:
        first: number of leading source classes that are stored; None for all, at most `KEPT_CLASSES`: a pass of a
            source with more of them leaves this statistic out.
    """

    kind: ClassVar[type[Statistic]] = StoredSoftmax
    first: int | None = None

    def start(self, context: PassContext) -> StoredSoftmax:
        """An empty store for z source classes."""
        return StoredSoftmax(context.z, first=self.first, folder=context.folder)
