"""The sizes of a task's cases as a source would see them, from the headers of their files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from benchmark.data.files.alignment import VoxelGrid, check_layers, directions_of, header_offset
from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.read_header import Header, read_header
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.checking import CheckedCase
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.ranking.expected_size import AS_READ, ExpectedShapes

Triple = tuple[float, ...]


@dataclass(frozen=True)
class HeaderCase:
    """A case by the header of its image.

    Attributes:
        name: The case's name.
        header: The header.
        header_offset: How far apart the headers of image and labels place the volume, in voxels.
    """

    name: str
    header: Header
    header_offset: float = 0.0

    @property
    def checked(self) -> CheckedCase:
        """The case as reading its files gives it, without its labels."""
        shape, spacing = self.header.shape, self.header.spacing or (1.0, 1.0, 1.0)
        if self.header.spacing and shape[0] > 1:
            shape, spacing = shape[::-1], spacing[::-1]
        return CheckedCase({}, shape, spacing, "", self.header_offset, directions_of(self.header.affine))


@dataclass(frozen=True)
class PreparedSize:
    """The size of a case under a preparation, before its crop.

    Attributes:
        name: The case's name.
        case: The case on the stored grid.
        shapes: The shapes under the preparation.
        stored: (3,) mm in the order of the network's axes; empty if it is stored as prepared.
    """

    name: str
    case: CheckedCase
    shapes: ExpectedShapes
    stored: Triple

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(3,) voxels, in the order of the network's axes."""
        return self.shapes.shape(self.case)

    @property
    def spacing(self) -> Triple:
        """(3,) mm, in the same order; empty if it is stored as prepared."""
        planned = self.shapes.preparation.spacing or ()
        return (*self.stored[: 3 - len(planned)], *planned) if self.stored else ()

    def check(self) -> None:
        """Check that resampling leaves a voxel along each axis.

        Raises:
            InputError: It does not.
        """
        if self.spacing != self.stored:
            stored_shape = tuple(self.case.shape[axis] for axis in self.shapes.axes_of(self.case))
            self.shapes.preparation.resampling.new_shape(stored_shape, self.stored, self.spacing)


def read_headers(task: Task, split: str) -> list[HeaderCase]:
    """Read the headers of all cases of a split; no voxel is read.

    Raises:
        InputError: The split lists no case or one twice, a header cannot be read, labels have several layers, the
            headers of an image and its labels give other shapes or places, or a case has other channels than
            dataset.json states.
    """
    task.cases(split)
    return [_case(files, task.stated_channels, task.limit_gib) for files in task.listed(split)]


def _case(files: CaseFiles, stated: int | None, limit_gib: float) -> HeaderCase:
    images = [read_header(path, limit_gib=limit_gib) for path in files.images]
    labels = read_header(files.labels, limit_gib=limit_gib)
    check_layers(files.labels, labels.channels or 1, labels.stored)
    offset = max(header_offset(files.labels, _grid(labels), _grid(image)) for image in images)
    known = [image.channels for image in images if image.channels is not None]
    if stated is not None and len(known) == len(images) and sum(known) != stated:
        raise InputError(f"cannot use {files.images[0]}: the case has {sum(known)} channels, but dataset.json states "
                         f"{stated} (each colour of an RGB image is a channel)")  # fmt: skip
    return HeaderCase(files.name, images[0], offset)


def _grid(header: Header) -> VoxelGrid:
    return VoxelGrid(header.shape[::-1], header.affine)


def prepared_sizes(cases: Sequence[HeaderCase], preparation: Preparation) -> list[PreparedSize]:
    """The size of each case under a preparation."""
    sizes = []
    for case in cases:
        checked = case.checked
        if case.header.spacing:
            shapes = ExpectedShapes.planned(preparation, checked)
        else:
            shapes = ExpectedShapes(replace(preparation, spacing=None), AS_READ, (1.0, 1.0, 1.0))
        stored = tuple(checked.spacing[axis] for axis in shapes.axes_of(checked)) if case.header.spacing else ()
        sizes.append(PreparedSize(case.name, checked, shapes, stored))
    return sizes


def median_size(sizes: Sequence[PreparedSize]) -> PreparedSize:
    """The case with the median number of voxels, the smaller of two."""
    return sorted(sizes, key=lambda size: (prod(size.shape), size.name))[(len(sizes) - 1) // 2]
