"""Read every file of a task's cases once, so that all broken cases are reported before hours of work on the others."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.core.labels import IGNORED, foreground
from benchmark.data.files.cases import Case, CaseFiles
from benchmark.data.tasks.task import Task
from benchmark.errors import CaseError, InputError
from benchmark.storage.files import write_text

SHOWN = 5  # names of further broken cases in the message
BLOCK = 8  # voxels along each side of the blocks in which foreground is marked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedCase:
    """What is known of a sound case from reading its files once, on the stored grid.

    Attributes:
        counts: Class -> number of its voxels; classes without a voxel, and ignored voxels, are left out.
        shape: (D, H, W) voxels.
        spacing: (3,) mm.
        marked: Hexadecimal bits of `blocks`.
        header_offset: How far apart the headers of image and labels place the volume, in voxels.
        directions: Letters of the directions in which X, Y and Z increase; empty if unknown.
    """

    counts: Mapping[int, int]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    marked: str
    header_offset: float = 0.0
    directions: str = ""

    @classmethod
    def of(cls, case: Case) -> "CheckedCase":
        """Count the voxels of a case, and mark the blocks with foreground.

        Example:
            >>> labels = torch.zeros(20, 8, 8, dtype=torch.uint8)
            >>> labels[17, 2, 2] = 3
            >>> checked = CheckedCase.of(Case("a", labels[None].float(), labels, (1.0, 1.0, 1.0)))
            >>> checked.counts, checked.blocks.ravel().tolist()
            ({0: 1279, 3: 1}, [False, False, True])
        """
        labels = case.labels
        counts = {label: count for label, count in enumerate(torch.bincount(labels.flatten()).tolist()) if count}
        counts.pop(IGNORED, None)
        marked = foreground(labels).numpy()
        for axis, side in enumerate(marked.shape):
            marked = np.logical_or.reduceat(marked, range(0, side, BLOCK), axis=axis)
        bits = np.packbits(marked).tobytes().hex()
        return cls(counts, tuple(labels.shape), tuple(case.spacing), bits, case.header_offset, case.directions)

    @classmethod
    def read(cls, text: str) -> "CheckedCase | None":
        """Read what `write` wrote; None for anything else."""
        try:
            values = json.loads(text)
            counts = {int(label): int(count) for label, count in values["counts"].items()}
            shape, spacing = tuple(map(int, values["shape"])), tuple(map(float, values["spacing"]))
            offset, directions = float(values.get("header_offset", 0.0)), str(values.get("directions", ""))
            checked = cls(counts, shape, spacing, str(values["marked"]), offset, directions)
            _ = checked.blocks
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        return checked

    def write(self) -> str:
        """The case as JSON."""
        return json.dumps(asdict(self))

    @property
    def blocks(self) -> NDArray[np.bool_]:
        """(ceil(D / BLOCK), ceil(H / BLOCK), ceil(W / BLOCK)) whether a block of voxels has foreground."""
        sides = [-(-side // BLOCK) for side in self.shape]
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(self.marked), dtype=np.uint8), count=prod(sides))
        return bits.astype(bool).reshape(sides)

    @property
    def classes(self) -> int:
        """The number of classes with a voxel, without the background."""
        return len(set(self.counts) - {0})

    @property
    def foreground(self) -> int:
        """The number of voxels of all classes but the background."""
        return sum(count for label, count in self.counts.items() if label)


def check_cases(task: Task, split: str, *, folder: Path, count: int | None = None) -> dict[str, CheckedCase]:
    """Check the files of the cases of a split, except those that an earlier check found sound.

    One process reads all files, without resampling. A file is read to its end, since a truncated one often shows only
    there, and checked as in `read_case`.

    Args:
        task: The task.
        split: The split's name.
        folder: Folder of the markers of sound cases; created if missing.
        count: Number of cases, from the first; None for all.

    Returns:
        Case -> what is known of it, in the order of the split.

    Raises:
        CaseError: Cases are broken; the message is that of the first, with the names of the others, which are logged.
        InputError: No case has a foreground voxel.
    """
    listed = task.listed(split)[:count]
    checked: dict[str, CheckedCase] = {}
    broken: dict[str, str] = {}  # message -> the first case that it is about
    for files in listed:
        try:
            checked[files.name] = _check(task, files, folder)
        except InputError as error:
            broken.setdefault(str(error), files.name)
    if broken:
        first, *others = broken
        for message in others:
            log.error("%s", message)
        raise CaseError(first + _further([broken[message] for message in others]))
    if listed and not any(case.classes for case in checked.values()):
        raise InputError(f"{task.folder}: split {split} has no foreground voxel in any case")
    return checked


def header_note(checked: Mapping[str, CheckedCase]) -> str | None:
    """One line for all cases whose image and labels have somewhat different headers; None if there are none.

    Example:
        >>> cases = {name: CheckedCase({1: 5}, (3, 3, 3), (1.0, 1.0, 1.0), "", offset) for name, offset in
        ...          {"a": 0.0, "b": 0.05, "c": 0.02}.items()}
        >>> header_note(cases).partition(" in ")[2]
        "2 of 3 cases, such as b; the image's is used"
    """
    offsets = {name: case.header_offset for name, case in checked.items() if case.header_offset}
    if not offsets:
        return None
    largest = max(offsets, key=lambda name: offsets[name])
    return (f"the headers of image and labels differ by up to {offsets[largest]:g} voxels at a corner in "
            f"{len(offsets)} of {len(checked)} cases, such as {largest}; the image's is used")  # fmt: skip


def _check(task: Task, files: CaseFiles, folder: Path) -> CheckedCase:
    """What is known of a case, from its marker, which is made if there is none."""
    marker = folder / task.case_digest(files)[:32]
    if (
        marker.is_file()
        and (known := CheckedCase.read(marker.read_text(encoding="utf-8", errors="replace"))) is not None
    ):
        return known
    checked = CheckedCase.of(task.stored_case(files))
    task.case_digest(files)  # a file that changed while it was read is an error
    folder.mkdir(parents=True, exist_ok=True)
    write_text(marker, checked.write())
    return checked


def _further(names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f" ({len(names)} further broken case{'s' if len(names) > 1 else ''}: {shown})"
