"""Read every file of a task's cases once, so that all broken cases are reported before hours of work on the others."""

import logging
from pathlib import Path

from benchmark.data.files.cases import CaseFiles
from benchmark.data.tasks.task import Task
from benchmark.errors import CaseError, InputError
from benchmark.storage.files import write_text

SHOWN = 5  # names of further broken cases in the message
FOREGROUND, EMPTY = "foreground", "no foreground"  # content of the marker of a sound case

log = logging.getLogger(__name__)


def check_cases(task: Task, split: str, *, folder: Path, count: int | None = None) -> None:
    """Check the files of the cases of a split, except those that an earlier check found sound.

    One process reads all files, without resampling. A file is read to its end, since a truncated one often shows only
    there, and checked as in `read_case`.

    Args:
        task: The task.
        split: The split's name.
        folder: Folder of the markers of sound cases; created if missing.
        count: Number of cases, from the first; None for all.

    Raises:
        CaseError: Cases are broken; the message is that of the first, with the names of the others, which are logged.
        InputError: No case has a foreground voxel.
    """
    listed = task.listed(split)[:count]
    markers = {}
    broken: dict[str, str] = {}  # message -> the first case that it is about
    for files in listed:
        try:
            markers[files.name] = _check(task, files, folder)
        except InputError as error:
            broken.setdefault(str(error), files.name)
    if broken:
        first, *others = broken
        for message in others:
            log.error("%s", message)
        raise CaseError(first + _further([broken[message] for message in others]))
    if listed and FOREGROUND not in markers.values():
        raise InputError(f"{task.folder}: split {split} has no foreground voxel in any case")


def _check(task: Task, files: CaseFiles, folder: Path) -> str:
    """The content of a case's marker, which is made if there is none."""
    marker = folder / task.case_digest(files)[:32]
    if marker.is_file() and (content := marker.read_text(encoding="utf-8")) in {FOREGROUND, EMPTY}:
        return content
    content = FOREGROUND if task.has_foreground(files) else EMPTY
    task.case_digest(files)  # a file that changed while it was read is an error
    folder.mkdir(parents=True, exist_ok=True)
    write_text(marker, content)
    return content


def _further(names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f" ({len(names)} further broken case{'s' if len(names) > 1 else ''}: {shown})"
