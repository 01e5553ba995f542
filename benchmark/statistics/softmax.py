"""StoredSoftmax: the source's softmax of every voxel, stored on disk as float16 to be read again.

LEEP takes the logarithm of a sum over source classes that depends on the complete joint, so it reads the stored softmax
instead of running the network twice. float16 keeps 3 digits and nothing below 6e-8.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.labels import counted
from benchmark.statistics.protocol import OwnedWindow, PassContext
from benchmark.storage.files import link_or_copy, read_json, write_json

MANIFEST = "softmax.json"
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


class StoredSoftmax:
    """Softmax (z, D, H, W) float16 and labels (D, H, W) uint8 (int16 if voxels are unseen), two files per case.

    Args:
        z: source classes.
        folder: folder for the files of the cases.
    """

    def __init__(self, z: int, *, folder: Path) -> None:
        self.z = z
        self.folder = folder
        self._files: dict[str, tuple[Path, Path]] = {}
        self._open: NDArray[np.float16] | None = None

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases, sorted."""
        return tuple(sorted(self._files))

    def rows(self, case: str | None = None) -> Iterator[SoftmaxRows]:
        """Read the voxels that windows covered, except ignored ones, block by block and case by case.

        Args:
            case: read only this case.

        Yields:
            Blocks of voxels.

        Raises:
            KeyError: if the case is unknown.
        """
        for name in self.cases if case is None else (case,):
            probabilities, targets = (np.load(path, mmap_mode="r") for path in self._files[name])
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
        """Open the files of a case.

        Args:
            case: name of the case.
            labels: (D, H, W) integers.
            seen: (D, H, W) bool, the voxels that windows will cover; None for all.

        Raises:
            ValueError: if the case was added before.
        """
        if case in self._files:
            raise ValueError(f"`case` must be new, got {case!r} twice")
        self.folder.mkdir(parents=True, exist_ok=True)
        names = [self.folder / f"{quote(case, safe='')}.{what}.npy" for what in ("softmax", "labels")]
        shape = (self.z, *labels.shape)
        self._open = np.lib.format.open_memmap(names[0], mode="w+", dtype=np.float16, shape=shape)
        np.save(names[1], _labels(labels, seen))
        self._files[case] = (names[0], names[1])

    def update(self, window: OwnedWindow) -> None:
        """Write the voxels that a window owns.

        Args:
            window: a window of the current case.
        """
        if self._open is None:
            raise RuntimeError("StoredSoftmax: `begin` must be called before `update`")
        box = tuple(slice(a, a + n) for a, n in zip(window.start, window.labels.shape, strict=True))
        self._open[(slice(None), *box)] = window.softmax.half().cpu().numpy()

    def end(self, case: str) -> None:
        """Flush the files of a case and release its memory.

        Args:
            case: name of the current case.
        """
        if isinstance(self._open, np.memmap):
            self._open.flush()
        self._open = None

    def merge(self, other: Self) -> Self:
        """Merge the softmax of two sets of cases.

        Args:
            other: softmax of other cases with the same z.

        Returns:
            A new statistic on the same files.

        Raises:
            ValueError: if z differs, or a case is in both.
        """
        if self.z != other.z:
            raise ValueError(f"`other` must have z {self.z}, got {other.z}")
        if both := sorted(set(self._files) & set(other._files)):
            raise ValueError(f"`other` must not share cases, got {both} in both")
        merged = type(self)(self.z, folder=self.folder)
        merged._files = self._files | other._files
        return merged

    def save(self, folder: Path) -> None:
        """Write the files of the cases and a manifest to a folder.

        Args:
            folder: an existing folder.
        """
        for path in (path for pair in self._files.values() for path in pair):
            link_or_copy(path, folder / path.name)
        files = {case: [path.name for path in pair] for case, pair in self._files.items()}
        values: dict[str, Any] = {"z": self.z, "files": files}
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
        stored = cls(values["z"], folder=folder)
        stored._files = {case: (folder / a, folder / b) for case, (a, b) in values["files"].items()}
        return stored


def _labels(labels: Tensor, seen: Tensor | None) -> NDArray[Any]:
    """Labels in the stored format."""
    stored = labels.cpu().numpy()
    if seen is None:
        return np.asarray(stored.astype(np.uint8))
    return np.asarray(np.where(seen.cpu().numpy(), stored.astype(np.int16), np.int16(UNSEEN)))


@dataclass(frozen=True)
class SoftmaxRequest:
    """Requests the source's softmax of every voxel, stored on disk."""

    kind: ClassVar[type] = StoredSoftmax

    def start(self, scene: PassContext) -> StoredSoftmax:
        """An empty statistic.

        Args:
            scene: context of the pass.

        Returns:
            An empty store for z source classes.
        """
        return StoredSoftmax(scene.z, folder=scene.folder)
