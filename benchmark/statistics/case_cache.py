"""Statistics of single cases, kept on disk: a killed pass resumes, and an added or mended case costs one case.

A folder holds what one source's passes gave under one preparation. Each case has an entry in it, named by the case and
its digest, so that a case whose files change gets another entry. Folders of several passes lie in one root, whose size
is bounded.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote

from safetensors import SafetensorError

from benchmark.errors import InputError
from benchmark.statistics.collection import MANIFEST, Statistics, stem
from benchmark.statistics.protocol import Request
from benchmark.statistics.softmax import SoftmaxRequest
from benchmark.storage.files import read_json, write_json

LONGEST = 100  # characters of a case in its entry's name; file systems take 255 bytes
LOCK = ".lock"  # file in a folder of entries, locked by the processes that use them
TRIMMED = ".trimmed"  # file in a root, whose time is that of the last trim
TRIM_EVERY = 600.0  # seconds; listing the entries of many short jobs takes longer than one of them


@dataclass(frozen=True)
class MeasuredPass:
    """Statistics of one or several cases, and what their pass cost.

    Attributes:
        statistics: statistics of the cases.
        seconds: duration, with that of an earlier run for the cases that were read from disk.
        peak_memory_mb: largest peak of a case.
        read: number of cases that were read from disk.
        read_seconds: the part of `seconds` that an earlier run took.
    """

    statistics: Statistics
    seconds: float
    peak_memory_mb: float = 0.0
    read: int = 0
    read_seconds: float = 0.0

    def merge(self, other: Self) -> Self:
        """Merge the pass over other cases."""
        return replace(
            self,
            statistics=self.statistics.merge(other.statistics),
            seconds=self.seconds + other.seconds,
            peak_memory_mb=max(self.peak_memory_mb, other.peak_memory_mb),
            read=self.read + other.read,
            read_seconds=self.read_seconds + other.read_seconds,
        )

    def save(self, entry: Path) -> None:
        """Write the statistics of a case and their cost to its entry, replacing an earlier one."""
        self.statistics.save(entry)
        write_json(_cost(entry), {"seconds": self.seconds, "peak_memory_mb": self.peak_memory_mb})

    @classmethod
    def load(cls, entry: Path, requests: Sequence[Request]) -> Self:
        """Read the requested statistics of a case; raises various errors if one is missing or damaged."""
        cost = read_json(_cost(entry))
        statistics = Statistics.load(entry, requests)
        return cls(statistics, cost["seconds"], cost["peak_memory_mb"], read=1, read_seconds=cost["seconds"])


def entry_path(folder: Path, case: str, digest: str) -> Path:
    """The entry of a case with this digest, which covers all that decides its statistics except the folder's key."""
    return folder / f"{quote(case, safe='')[:LONGEST]}-{digest[:16]}"


def kept(entry: Path, requests: Sequence[Request]) -> MeasuredPass | None:
    """Read the requested statistics of a case; None if one is missing or cannot be read."""
    try:
        measured = MeasuredPass.load(entry, requests)
    except (OSError, EOFError, KeyError, TypeError, ValueError, SafetensorError):  # an InputError is a ValueError
        return None
    with suppress(OSError):
        os.utime(entry / MANIFEST)  # the last use, by which entries are trimmed
    return measured


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keep the entries of a folder from being trimmed by other processes during the block; creates the folder.

    Several processes may use a folder at once. On a file system without file locks nothing is ever trimmed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("ab") as lock:
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def trim(root: Path, *, keep_gib: float, every: float = TRIM_EVERY) -> None:
    """Delete the least recently used entries of a root until those left take at most `keep_gib`.

    The softmax of every voxel goes first, which is by far the largest part and which few metrics read. Folders that
    are in use are left as they are.

    Args:
        root: folder of the folders of entries.
        keep_gib: size that the entries may take, GiB.
        every: seconds since the last trim before which nothing is done.

    Raises:
        InputError: if `keep_gib` is negative.
    """
    if keep_gib < 0:
        raise InputError(f"passes.keep_gib must not be negative, got {keep_gib}")
    last = root / TRIMMED
    if not root.is_dir() or (last.is_file() and time.time() - last.stat().st_mtime < every):
        return
    last.touch()
    for leftover in root.glob("*/.*/"):  # of killed processes
        with _unused(leftover.parent) as unused:
            if unused:
                shutil.rmtree(leftover, ignore_errors=True)
    sizes = {manifest.parent: _size(manifest.parent) for manifest in root.glob(f"*/*/{MANIFEST}")}
    excess = sum(sizes.values()) - keep_gib * 2**30
    for part in (stem(SoftmaxRequest()), stem(SoftmaxRequest(first=1)), "."):
        for entry in sorted(sizes, key=lambda entry: (_last_use(entry), entry)):
            if excess > 0:
                excess -= _delete(entry, entry / part)


def _delete(entry: Path, place: Path) -> int:
    """Delete an entry or a folder in it, and return its bytes; 0 if the entry is in use or the folder not there."""
    with _unused(entry.parent) as unused:
        if not unused or not place.is_dir():
            return 0
        size = _size(place)
        hidden = place.rename(entry.with_name(f".{entry.name}"))  # whole or not at all, even if the process is killed
        shutil.rmtree(hidden, ignore_errors=True)
        if place == entry:
            _cost(entry).unlink(missing_ok=True)
    return size


@contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Whether no other process uses a folder; then none can begin to during the block."""
    with (folder / LOCK).open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            unused = False
        else:
            unused = True
        yield unused


def _size(place: Path) -> int:
    """Bytes of the files in a folder, without those that another process deletes meanwhile."""
    sizes = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(OSError):
                sizes += (Path(folder) / name).stat().st_size
    return sizes


def _last_use(entry: Path) -> float:
    try:
        return (entry / MANIFEST).stat().st_mtime
    except OSError:
        return 0.0


def _cost(entry: Path) -> Path:
    return entry.with_name(f"{entry.name}.cost.json")
