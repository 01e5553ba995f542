"""A task's cases: labelled volumes, read from disk on access and checked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from cachetools import LRUCache
from torch import Tensor

from benchmark.data.files.description import Labelling
from benchmark.data.files.read_image import Stored, read
from benchmark.data.preprocessing.preparation import Preparation, Volume
from benchmark.errors import CaseError, InputError

AFFINE_TOLERANCE = 1e-3  # mm; headers store float32, and writers round differently
KEPT_GIB = 2.0  # memory for cases that are indexed repeatedly


@dataclass(frozen=True)
class Case:
    """One labelled volume.

    Attributes:
        name: The case's name, unique within its task.
        image: (c, D, H, W) float32, normalised intensities.
        labels: (D, H, W) uint8, 0 is background, 1 .. k-1 are the classes, IGNORED (255) is not annotated.
        spacing: (3,) mm, in the array's axis order.
    """

    name: str
    image: Tensor
    labels: Tensor
    spacing: tuple[float, ...]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.image.nbytes + self.labels.nbytes


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case: one image, or one per channel, and the labels."""

    name: str
    images: tuple[Path, ...]
    labels: Path


class Cases(Sequence[Case]):
    """A sequence whose items are read from disk.

    Iteration reads one case after the other and keeps none, so memory does not grow with the number of cases. Indexing
    caches the most recently used cases up to a limit, since training reads them repeatedly.

    Args:
        loaders: One function per case.
        place: Folder and split, for errors.
        kept_gib: Size of the cache, GiB.
    """

    def __init__(self, loaders: Sequence[Callable[[], Case]], *, place: str, kept_gib: float = KEPT_GIB) -> None:
        self._loaders = loaders
        self._place = place
        self._kept_gib = kept_gib
        room = max(int(kept_gib * 2**30), 1)
        # a case above the limit counts as the limit, so it is kept alone
        self._kept: LRUCache[int, Case] = LRUCache(room, getsizeof=lambda case: min(case.nbytes, room))
        self._empty: set[int] = set()

    def __len__(self) -> int:
        return len(self._loaders)

    def __iter__(self) -> Iterator[Case]:
        for index in range(len(self)):
            yield self._kept.get(index) or self._load(index)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> "Cases": ...
    def __getitem__(self, index: int | slice) -> "Case | Cases":
        if isinstance(index, slice):
            return Cases(self._loaders[index], place=self._place, kept_gib=self._kept_gib)
        place = range(len(self))[index]
        if place not in self._kept:
            self._kept[place] = self._load(place)
        return self._kept[place]

    def _load(self, index: int) -> Case:
        case = self._loaders[index]()
        if not bool(case.labels.any()):
            self._empty.add(index)
        if len(self._empty) == len(self):
            raise InputError(f"{self._place} has no foreground voxel in any case")
        return case


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
        volume = _read_volume(files, labelling, limit_gib)
        if len(volume.image) != channels:
            raise InputError(f"cannot use {files.images[0]}: the case has {len(volume.image)} channels, but "
                             f"{stated} {channels} (each colour of an RGB image is a channel)")  # fmt: skip
    done = preparation(volume)
    image = torch.from_numpy(np.ascontiguousarray(done.image))
    return Case(files.name, image, torch.from_numpy(labelling(done.labels)), done.spacing)


@of_case()
def count_channels(files: CaseFiles, *, limit_gib: float) -> int:
    """Count the channels in the files of a case.

    Raises:
        CaseError: A file cannot be read.
    """
    return sum(len(read(path, limit_gib=limit_gib).values) for path in files.images)


def _read_volume(files: CaseFiles, labelling: Labelling, limit_gib: float) -> Volume:
    images = [read(path, limit_gib=limit_gib) for path in files.images]
    labels = read(files.labels, limit_gib=limit_gib)
    if len(labels.shape) <= 3 and len(labels.values) > 1:
        raise InputError(f"cannot use {files.labels} as labels: it has {len(labels.values)} values per voxel (such as "
                         "colours), expected 1 (the class)")  # fmt: skip
    for path, image in zip(files.images, images, strict=True):
        _check_grid(files.labels, labels, image)
        with np.errstate(over="ignore"):
            finite = np.isfinite(image.values.astype(np.float32))
        if not finite.all():
            raise InputError(f"cannot use {path}: voxels must be finite, got {int((~finite).sum())} NaN or inf")
    values = np.concatenate([image.values for image in images], dtype=np.float32, casting="unsafe")
    labelling.check(labels.values, files.labels)
    return Volume(values, labels.values[0].astype(np.int16), images[0].spacing)


def _check_grid(path: Path, labels: Stored, image: Stored) -> None:
    if len(labels.shape) > 3 or len(labels.values) != 1 or image.values.shape[1:] != labels.values.shape[1:]:
        raise InputError(f"cannot use {path}: its shape {labels.shape} differs from its image's {image.shape[:3]}")
    if image.affine is None or labels.affine is None:
        return
    if not np.allclose(image.affine, labels.affine, atol=AFFINE_TOLERANCE):
        difference = np.abs(image.affine - labels.affine).max()
        raise InputError(f"cannot use {path}: its affine differs from its image's by {difference:.3g} mm")
