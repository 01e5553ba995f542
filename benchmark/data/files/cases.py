"""Labelled volumes: their files, read from disk, checked and prepared."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.data.files.alignment import VoxelGrid, check_layers, directions_of, header_offset
from benchmark.data.files.description import Labelling
from benchmark.data.files.positions import ClassPositions, class_positions
from benchmark.data.files.read_image import Stored, read, sidecars
from benchmark.data.preprocessing.preparation import Preparation, Volume
from benchmark.errors import CaseError, InputError
from benchmark.storage.digest import file_digest, value_digest
from benchmark.storage.digest_memory import remembered

ROUNDED = 1e-3  # distance from a whole number within which a label is rounded; programs that resample leave 0.99999994

Box: TypeAlias = tuple[slice, ...]  # (3,) slices of a volume, with start and stop inside it


class BoxReader(Protocol):
    """A labelled volume that is read box by box, from memory or from disk.

    Attributes:
        name: The case's name, unique within its task.
        shape: (D, H, W) voxels.
        spacing: (3,) mm, in the array's axis order.
        counts: Class -> number of its voxels; classes without a voxel are left out.
        image: (c, D, H, W) float32, the whole volume; read from disk at each access if it is not in memory.
        labels: (D, H, W) uint8, likewise.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def spacing(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def counts(self) -> Mapping[int, int]: ...  # noqa: D102
    @property
    def image(self) -> Tensor: ...  # noqa: D102
    @property
    def labels(self) -> Tensor: ...  # noqa: D102

    def voxels(self, label: int) -> NDArray[np.int64]:
        """Flat indices (C order) of voxels of a class: all of them, or a random sample."""
        ...

    def read(self, box: Box) -> tuple[Tensor, Tensor]:
        """The image (c, d, h, w) float32 and the labels (d, h, w) uint8 of a box."""
        ...

    def read_image(self, box: Box) -> Tensor:
        """The image (c, d, h, w) float32 of a box."""
        ...

    def read_labels(self, box: Box) -> Tensor:
        """The labels (d, h, w) uint8 of a box."""
        ...


@dataclass(frozen=True)
class Case:
    """One labelled volume.

    Attributes:
        name: The case's name, unique within its task.
        image: (c, D, H, W) float32, normalised intensities.
        labels: (D, H, W) uint8, 0 is background, 1 .. k-1 are the classes, IGNORED (255) is not annotated.
        spacing: (3,) mm, in the array's axis order.
        header_offset: How far apart the headers of image and labels place the volume, in voxels; only known for a case
            that was read from its files.
        directions: Letters of the directions in which X, Y and Z of its files increase; empty if unknown.
    """

    name: str
    image: Tensor
    labels: Tensor
    spacing: tuple[float, ...]
    header_offset: float = 0.0
    directions: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.image.nbytes + self.labels.nbytes

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W) voxels."""
        return tuple(self.labels.shape)

    @cached_property
    def positions(self) -> ClassPositions:
        """Where the classes lie."""
        return class_positions(self.labels.numpy())

    @property
    def counts(self) -> Mapping[int, int]:
        """Class -> number of its voxels."""
        return self.positions.counts

    def voxels(self, label: int) -> NDArray[np.int64]:
        """Flat indices of voxels of a class."""
        return self.positions.voxels[label]

    def read(self, box: Box) -> tuple[Tensor, Tensor]:
        """Views of the image (c, d, h, w) and the labels (d, h, w) of a box."""
        return self.read_image(box), self.read_labels(box)

    def read_image(self, box: Box) -> Tensor:
        """A view of the image (c, d, h, w) of a box."""
        return self.image[(slice(None), *box)]

    def read_labels(self, box: Box) -> Tensor:
        """A view of the labels (d, h, w) of a box."""
        return self.labels[box]


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case: one image, or one per channel, and the labels."""

    name: str
    images: tuple[Path, ...]
    labels: Path

    def digest(self) -> str:
        """SHA-256 of what the files hold, in their order, whatever their names; unchanged files are not read again.

        Raises:
            InputError: A file does not exist.
        """
        paths = [*self.images, self.labels]
        paths += [sidecar for path in paths for sidecar in sidecars(path)]
        digests = []
        for path in paths:
            try:
                digests.append(remembered(file_digest, is_input=True)(path))
            except FileNotFoundError:
                raise InputError(f"{path} not found, but dataset.json lists it") from None
        return value_digest(digests)


@contextmanager
def of_case() -> Iterator[None]:
    """Turn an InputError of the block into a CaseError: the fault is in the files of a case.

    Raises:
        CaseError: The block raised an InputError.
    """
    try:
        yield
    except InputError as error:
        raise CaseError(str(error)) from error


def read_case(
    files: CaseFiles, preparation: Preparation, *, labelling: Labelling, channels: int, stated: str, limit_gib: float
) -> Case:
    """Read and prepare a case.

    Args:
        files: Its files.
        preparation: How its volume becomes a network's input.
        labelling: The label values that may occur.
        channels: Input channels.
        stated: Where `channels` comes from, such as "dataset.json states".
        limit_gib: Largest size of a file's voxels as float32, GiB.

    Raises:
        CaseError: A file is missing or corrupt, shapes or affines differ, a voxel is NaN or infinite, a label value
            is not in dataset.json, or the number of channels is another one.
        InputError: The preparation does not suit the case.
    """
    with of_case():
        volume, offset = _read_volume(files, labelling, limit_gib)
        if len(volume.image) != channels:
            raise InputError(f"cannot use {files.images[0]}: the case has {len(volume.image)} channels, but "
                             f"{stated} {channels} (each colour of an RGB image is a channel)")  # fmt: skip
    done = preparation(volume)
    image = torch.from_numpy(np.ascontiguousarray(done.image))
    labels = torch.from_numpy(labelling(done.labels))
    return Case(files.name, image, labels, done.spacing, offset, volume.directions)


@of_case()
def count_channels(files: CaseFiles, *, limit_gib: float) -> int:
    """Count the channels in the files of a case.

    Raises:
        CaseError: A file cannot be read.
    """
    return sum(len(read(path, limit_gib=limit_gib).values) for path in files.images)


def _read_volume(files: CaseFiles, labelling: Labelling, limit_gib: float) -> tuple[Volume, float]:
    """The volume of a case on the stored grid, and the largest offset of its headers, in voxels."""
    images = [read(path, limit_gib=limit_gib) for path in files.images]
    labels = read(files.labels, limit_gib=limit_gib)
    check_layers(files.labels, len(labels.values), labels.shape)
    offset = max(header_offset(files.labels, _grid(labels), _grid(image)) for image in images)
    for path, image in zip(files.images, images, strict=True):
        with np.errstate(over="ignore"):
            finite = np.isfinite(image.values.astype(np.float32))
        if not finite.all():
            raise InputError(f"cannot use {path}: voxels must be finite, got {int((~finite).sum())} NaN or inf")
    values = np.concatenate([image.values for image in images], dtype=np.float32, casting="unsafe")
    classes = _rounded(labels.values[0])
    labelling.check(classes, files.labels)
    directions = directions_of(images[0].affine)
    return Volume(values, classes.astype(np.int16), images[0].spacing, directions), offset


def _grid(stored: Stored) -> VoxelGrid:
    return VoxelGrid(stored.values.shape[:0:-1], stored.affine)


def _rounded(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels that are almost whole as whole numbers; others as they are.

    Example:
        >>> _rounded(np.array([0.99999994, 2.0009, 0.5])).tolist()
        [1.0, 2.0, 0.5]
    """
    if labels.dtype.kind != "f":
        return labels
    whole = np.rint(labels)
    return np.where(np.abs(labels - whole) <= ROUNDED, whole, labels)
