"""The cases of a split, read from disk on access."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch

from benchmark.data.files.case import Case
from benchmark.data.files.read_image import Stored, read
from benchmark.data.preprocessing.preparation import Preparation, Volume
from benchmark.data.tasks.labelling import Labelling
from benchmark.errors import CaseError, InputError

AFFINE_TOLERANCE = 1e-3  # mm; headers store float32, and writers round differently
KEPT_GIB = 2.0  # memory for cases that are indexed repeatedly


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        name: The case's name.
        images: One file, or one per channel.
        labels: The label file.
    """

    name: str
    images: tuple[Path, ...]
    labels: Path


@dataclass(frozen=True)
class Rules:
    """Requirements that the files of a case must meet.

    Attributes:
        labelling: The label values that may occur.
        channels: Input channels.
        source_of_channels: Where `channels` comes from, such as "dataset.json states 1".
        limit_gib: Largest size of a file's voxels as float32, GiB.
    """

    labelling: Labelling
    channels: int
    source_of_channels: str
    limit_gib: float


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
        self._room = int(kept_gib * 2**30)
        self._kept: OrderedDict[int, Case] = OrderedDict()
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
            return Cases(self._loaders[index], place=self._place, kept_gib=self._room / 2**30)
        place = range(len(self))[index]
        if place not in self._kept:
            self._kept[place] = self._load(place)
            while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._room:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return self._kept[place]

    def _load(self, index: int) -> Case:
        case = self._loaders[index]()
        if not bool(case.labels.any()):
            self._empty.add(index)
        if len(self._empty) == len(self):
            raise InputError(f"{self._place} has no foreground voxel in any case")
        return case


def read_case(files: CaseFiles, preparation: Preparation, rules: Rules) -> Case:
    """Read and prepare a case.

    Raises:
        CaseError: A file is missing or corrupt, shapes or affines differ, a voxel is NaN or infinite, a label value
            is not in dataset.json, or the number of channels breaks the rules.
        InputError: The preparation does not suit the case.
    """
    with of_case():
        stored = _stored(files, rules)
    done = preparation(stored)
    return Case(
        name=files.name,
        image=torch.from_numpy(np.ascontiguousarray(done.image)),
        labels=torch.from_numpy(rules.labelling(done.labels)),
        spacing=done.spacing,
    )


def count_channels(files: CaseFiles, *, limit_gib: float) -> int:
    """Count the channels in the files of a case.

    Raises:
        CaseError: A file cannot be read.
    """
    with of_case():
        return sum(len(read(path, limit_gib=limit_gib).values) for path in files.images)


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


def _stored(files: CaseFiles, rules: Rules) -> Volume:
    images = [read(path, limit_gib=rules.limit_gib) for path in files.images]
    labels = read(files.labels, limit_gib=rules.limit_gib)
    if len(labels.shape) <= 3 and len(labels.values) > 1:
        raise InputError(f"cannot use {files.labels} as labels: it has {len(labels.values)} values per voxel (such as "
                         "colours), expected 1 (the class)")  # fmt: skip
    for path, image in zip(files.images, images, strict=True):
        _check_grid(files.labels, labels, image)
        _check_values(path, image)
    values = np.concatenate([image.values for image in images], dtype=np.float32, casting="unsafe")
    if len(values) != rules.channels:
        raise InputError(f"cannot use {files.images[0]}: the case has {len(values)} channels, but "
                         f"{rules.source_of_channels} (each colour of an RGB image is a channel)")  # fmt: skip
    _check_labels(files.labels, labels, rules.labelling)
    return Volume(values, labels.values[0].astype(np.int16), images[0].spacing)


def _check_grid(path: Path, labels: Stored, image: Stored) -> None:
    if len(labels.shape) > 3 or len(labels.values) != 1 or image.values.shape[1:] != labels.values.shape[1:]:
        raise InputError(f"cannot use {path}: its shape {labels.shape} differs from its image's {image.shape[:3]}")
    if image.affine is None or labels.affine is None:
        return
    if not np.allclose(image.affine, labels.affine, atol=AFFINE_TOLERANCE):
        difference = np.abs(image.affine - labels.affine).max()
        raise InputError(f"cannot use {path}: its affine differs from its image's by {difference:.3g} mm")


def _check_values(path: Path, image: Stored) -> None:
    with np.errstate(over="ignore"):
        finite = np.isfinite(image.values.astype(np.float32))
    if not finite.all():
        raise InputError(f"cannot use {path}: voxels must be finite, got {int((~finite).sum())} NaN or inf")


def _check_labels(path: Path, labels: Stored, labelling: Labelling) -> None:
    unknown = sorted(set(np.unique(labels.values).tolist()) - set(labelling.classes))
    if unknown:
        raise InputError(f"cannot use {path}: label values must be in dataset.json {sorted(labelling.classes)}, "
                         f"got {unknown[0]:g}")  # fmt: skip


def _bytes(case: Case) -> int:
    return case.image.nbytes + case.labels.nbytes
