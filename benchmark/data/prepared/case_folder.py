"""The folder of one prepared case: compressed arrays, positions of voxels by class, and properties.

`image.b2nd` (c, D, H, W) float32 and `labels.b2nd` (D, H, W) uint8 are blosc2 arrays with the block and chunk sizes
that nnU-Net computes for its own (Isensee et al., Nature Methods 2021), so that a patch is read without decompressing
the volume. `positions.npz` has voxels by class, `case.json` shape, spacing and the SHA-256 of every file. Nothing in it
runs code when it is read.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.data.files.cases import Box, Case
from benchmark.errors import InputError, one_line
from benchmark.storage.digest import file_digest, value_digest
from benchmark.storage.digest_memory import remembered
from benchmark.storage.files import read_json, write_json

IMAGE, LABELS, POSITIONS, PROPERTIES = "image.b2nd", "labels.b2nd", "positions.npz", "case.json"
PATCH = (96, 96, 96)  # voxels that the blocks are laid out for; trainings with other patches share them
CHECKSUM = "checksum"  # of the other properties
Layout: TypeAlias = Callable[[tuple[int, ...], int], tuple[tuple[int, ...], tuple[int, ...]]]
READ_ERRORS = (RuntimeError, ValueError, TypeError, OSError, EOFError, KeyError, zipfile.BadZipFile)


class BrokenCaseError(Exception):
    """A prepared file is missing, truncated or altered; the message names it."""


@dataclass(frozen=True)
class StoredCase:
    """A prepared case on disk, which is read box by box.

    Attributes:
        name: The case's name, unique within its task.
        folder: The case's folder.
        shape: (D, H, W) voxels.
        channels: c.
        spacing: (3,) mm, in the array's axis order.
        counts: Class -> number of its voxels.
        states: File -> size and times under which its digest was checked.
    """

    name: str
    folder: Path
    shape: tuple[int, ...]
    channels: int
    spacing: tuple[float, ...]
    counts: dict[int, int]
    states: dict[str, tuple[int, ...]]

    @property
    def is_unchanged(self) -> bool:
        """Whether no file has changed since it was checked."""
        return all(_state(self.folder / name) == state for name, state in self.states.items())

    def read(self, box: Box) -> tuple[Tensor, Tensor]:
        """The image (c, d, h, w) float32 and the labels (d, h, w) uint8 of a box.

        Raises:
            BrokenCaseError: A file has changed since it was checked, or cannot be read.
        """
        return self.read_image(box), self.read_labels(box)

    def read_image(self, box: Box) -> Tensor:
        """The image (c, d, h, w) float32 of a box; errors as in `read`."""
        return torch.from_numpy(self._array(IMAGE, (slice(None), *box)))

    def read_labels(self, box: Box) -> Tensor:
        """The labels (d, h, w) uint8 of a box; errors as in `read`."""
        return torch.from_numpy(self._array(LABELS, box))

    def voxels(self, label: int) -> NDArray[np.int64]:
        """Flat indices of a class's voxels, read at each call: memory must not grow with cases; errors as in `read`."""
        self._check_state(POSITIONS)
        try:
            with np.load(self.folder / POSITIONS, allow_pickle=False) as stored:
                return np.asarray(stored[str(label)], dtype=np.int64)
        except READ_ERRORS as error:
            raise BrokenCaseError(f"{POSITIONS}: {one_line(error)}") from error

    def _array(self, name: str, box: tuple[slice, ...]) -> NDArray[Any]:
        self._check_state(name)
        try:
            # opened for each box: an open map keeps all pages that were read in this process's memory
            return np.ascontiguousarray(_opened(self.folder / name)[box])
        except READ_ERRORS as error:
            raise BrokenCaseError(f"{name}: {one_line(error)}") from error

    def _check_state(self, name: str) -> None:
        if _state(self.folder / name) != self.states[name]:
            raise BrokenCaseError(f"{name} was changed or deleted")


def nnunet_layout(shape: tuple[int, ...], itemsize: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Sizes of blocks and chunks that nnU-Net computes for an array (c, D, H, W) with `itemsize` bytes per voxel."""
    from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

    blocks, chunks = comp_blosc2_params(shape, PATCH, itemsize)
    return blocks, chunks


def write_case(case: Case, folder: Path, *, layout: Layout = nnunet_layout) -> None:
    """Write a prepared case into an empty folder; `layout` gives the blocks and chunks of its arrays."""
    image, labels = case.image.numpy(), case.labels.numpy()
    _write_array(folder / IMAGE, image, layout(image.shape, image.itemsize))
    _write_array(folder / LABELS, labels, layout((1, *labels.shape), labels.itemsize))
    positions = case.positions
    largest = np.int32 if labels.size < 2**31 else np.int64
    arrays: dict[str, Any] = {str(label): voxels.astype(largest) for label, voxels in positions.voxels.items()}
    np.savez(folder / POSITIONS, **arrays)
    properties = {
        "shape": list(case.shape),
        "channels": len(image),
        "spacing": list(case.spacing),
        "counts": {str(label): count for label, count in positions.counts.items()},
        "digests": {name: file_digest(folder / name) for name in (IMAGE, LABELS, POSITIONS)},
    }
    write_json(folder / PROPERTIES, properties | {CHECKSUM: value_digest(properties)})


def open_case(folder: Path, name: str) -> StoredCase:
    """Open a prepared case; the content of its files is compared with their digests.

    Args:
        folder: The case's folder.
        name: The case's name.

    Raises:
        BrokenCaseError: A file is missing, truncated or altered.
    """
    properties = read_properties(folder)
    try:
        states = {file: _state(folder / file) for file in properties["digests"]}
        for file, digest in properties["digests"].items():
            if remembered(file_digest)(folder / file) != digest:
                raise BrokenCaseError(f"{file} is truncated or altered")
    except OSError as error:
        raise BrokenCaseError(f"{Path(error.filename or folder).name}: {error.strerror}") from error
    counts = {int(label): int(count) for label, count in properties["counts"].items()}
    shape, spacing = tuple(properties["shape"]), tuple(properties["spacing"])
    return StoredCase(name, folder, shape, properties["channels"], spacing, counts, states)


def read_properties(folder: Path) -> dict[str, Any]:
    """The properties of a prepared case: its shape, channels, spacing, the voxels of each class, and digests.

    Raises:
        BrokenCaseError: They are missing, cannot be read or are altered.
    """
    try:
        properties = dict(read_json(folder / PROPERTIES))
    except (InputError, TypeError, ValueError) as error:
        raise BrokenCaseError(f"{PROPERTIES} is missing or cannot be read") from error
    if properties.pop(CHECKSUM, "") != value_digest(properties):
        raise BrokenCaseError(f"{PROPERTIES} is altered")
    return properties


def _write_array(path: Path, array: NDArray[Any], layout: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Write an array in blocks and chunks, which are 4D; the array lacks at most the first axis."""
    import blosc2

    blocks, chunks = layout
    last = array.ndim
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=str(path),
        mode="w",
        chunks=chunks[-last:],
        blocks=blocks[-last:],
        cparams={"codec": blosc2.Codec.LZ4HC, "clevel": 5, "filters": [blosc2.Filter.SHUFFLE], "nthreads": 1},
    )


def _opened(path: Path) -> Any:
    import blosc2

    safe = blosc2.DeserializeMode.SAFE
    return blosc2.open(urlpath=str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1}, deserialize=safe)


def _state(path: Path) -> tuple[int, ...]:
    """What is equal as long as a file is unchanged; empty if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
