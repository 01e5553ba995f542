"""StoredSoftmax: the source's softmax of every voxel, stored on disk as float16 to be read again.

LEEP takes the logarithm of a sum over source classes that depends on the complete joint, so it reads the stored softmax
instead of running the network twice. float16 keeps 3 digits and nothing below 6e-8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from benchmark.core.labels import counted
from benchmark.statistics.case_storage import CaseStorage
from benchmark.statistics.protocol import OwnedWindow, PassContext, Statistic

# Voxels per block: 16 classes in float32 are 16 MB
BLOCK_VOXELS = 262144
# Label of a voxel that no window covered; it is not read
UNSEEN = -1


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
    """Softmax (z, D, H, W) float16 and labels (D, H, W) uint8 (int16 if voxels are unseen), two files per case.

    Args:
        z: source classes.
        folder: folder for the files of the cases.
    """

    settings = ("z",)
    manifest = "softmax.json"
    suffixes = (".softmax.npy", ".labels.npy")

    def __init__(self, z: int, *, folder: Path) -> None:
        super().__init__(folder=folder)
        self.z = z

    def rows(self, case: str | None = None) -> Iterator[SoftmaxRows]:
        """Read the voxels that windows covered, except ignored ones, block by block and case by case.

        Args:
            case: read only this case; None for all.

        Raises:
            KeyError: if the case is unknown.
        """
        for name in self.cases if case is None else (case,):
            probabilities, targets = (np.load(path, mmap_mode="r") for path in self._paths(name, self._folders[name]))
            flat, labels = probabilities.reshape(self.z, -1), targets.reshape(-1)
            for first in range(0, labels.size, BLOCK_VOXELS):
                block = slice(first, first + BLOCK_VOXELS)
                chosen = labels[block]
                values = flat[:, block].astype(np.float32)
                if chosen.dtype == np.int16:
                    values, chosen = values[:, chosen != UNSEEN], chosen[chosen != UNSEEN]
                softmax = torch.from_numpy(values).T
                yield SoftmaxRows(name, *counted(softmax, torch.from_numpy(chosen.astype(np.int64))))

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Open the files of a case."""
        super().begin(case, labels)
        self.folder.mkdir(parents=True, exist_ok=True)
        softmax, targets = self._paths(case, self.folder)
        shape = (self.z, *labels.shape)
        self._open = np.lib.format.open_memmap(softmax, mode="w+", dtype=np.float16, shape=shape)
        stored = labels.cpu().numpy()
        if seen is None:
            np.save(targets, stored.astype(np.uint8))
        else:
            np.save(targets, np.where(seen.cpu().numpy(), stored.astype(np.int16), np.int16(UNSEEN)))

    def update(self, window: OwnedWindow) -> None:
        """Write the voxels that a window owns."""
        box = tuple(slice(a, a + n) for a, n in zip(window.start, window.labels.shape, strict=True))
        self._opened()[(slice(None), *box)] = window.softmax.half().cpu().numpy()

    def end(self, case: str) -> None:
        """Flush the files of a case and release its memory."""
        self._opened().flush()
        super().end(case)
        self._add({case: self.folder})


@dataclass(frozen=True)
class SoftmaxRequest:
    """Requests the source's softmax of every voxel, stored on disk."""

    kind: ClassVar[type[Statistic]] = StoredSoftmax

    def start(self, context: PassContext) -> StoredSoftmax:
        """An empty store for z source classes."""
        return StoredSoftmax(context.z, folder=context.folder)
