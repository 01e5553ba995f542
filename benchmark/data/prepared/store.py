"""The store of prepared cases: one folder per case, keyed by the case's files, its preparation and their code.

It may be deleted at any time: a job prepares again what is missing. A case whose files were truncated or altered is
noticed when it is first opened, and prepared again.
"""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from cachetools import LRUCache
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from benchmark.data.prepared.case_folder import BrokenCaseError, StoredCase, open_case, read_properties, write_case
from benchmark.data.prepared.request import CaseRequest
from benchmark.data.prepared.room import GIB, Room
from benchmark.data.prepared.uses import Uses
from benchmark.errors import WriteError, one_line
from benchmark.storage.files import clear_partial, partial_folder
from benchmark.storage.prepared_settings import PreparedSettings, prepared_settings

POSITION_BYTES = 2**25  # of positions in memory
FREE_BYTES = GIB // 4  # of the disk that are left to others; 5% of a small disk

log = logging.getLogger(__name__)


class PreparedStore:
    """Prepared cases in a folder that several processes may use at once.

    Args:
        settings: Folder and limits.
    """

    def __init__(self, settings: PreparedSettings) -> None:
        self.settings = settings
        self.folder = settings.folder
        self.uses = Uses(settings.folder / ".uses")
        self.prepared = 0  # cases prepared by this process and stored
        self.prepared_in_memory = 0  # cases prepared by this process for one use, since they could not be stored
        self._voxels: LRUCache[tuple[str, int], NDArray[np.int64]] = LRUCache(
            POSITION_BYTES, getsizeof=lambda positions: min(positions.nbytes, POSITION_BYTES)
        )
        self._opened: dict[str, StoredCase] = {}  # whose files were compared with their digests

    def __reduce__(self) -> tuple[type["PreparedStore"], tuple[PreparedSettings]]:
        """The store as a worker process gets it; uses are marked by its parent."""
        return PreparedStore, (self.settings,)

    def place(self, key: str) -> Path:
        """The folder of a case."""
        return self.folder / key

    def has(self, request: CaseRequest) -> bool:
        """Whether a case is stored; its content is checked when it is opened."""
        try:
            read_properties(self.place(request.key))
        except BrokenCaseError:
            return False
        return True

    def open(self, request: CaseRequest) -> StoredCase:
        """Open a case; it is prepared if it is missing or broken.

        Raises:
            CaseError: The case's files are faulty, or have changed since the request was made.
            WriteError: The prepared case cannot be written.
        """
        folder = self.place(request.key)
        self.uses.restore()  # other jobs must know what is used, also after the store was deleted
        if request.key in self._opened and self._opened[request.key].is_unchanged:
            return replace(self._opened[request.key], name=request.name)
        try:
            case = open_case(folder, request.name)
        except BrokenCaseError:
            self.make(request)
            try:
                case = open_case(folder, request.name)
            except BrokenCaseError as error:
                raise WriteError(f"cannot read prepared case {request.name}, just written to {folder}: {error}; check "
                                 "the disk") from error  # fmt: skip
        with _ignored_os_errors():
            os.utime(folder)  # the least recently used are evicted first
        self._opened[request.key] = case
        return case

    def voxels(self, case: StoredCase, label: int) -> NDArray[np.int64]:
        """Positions of a class of a case; those that were read last are kept in memory, up to a limit."""
        place = (case.folder.name, label)
        if place not in self._voxels:
            self._voxels[place] = case.voxels(label)
        return self._voxels[place]

    def make(self, request: CaseRequest) -> None:
        """Prepare a case, unless another process has done so meanwhile; errors as in `open`."""
        folder = self.place(request.key)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f".{request.key}.lock"):
            damage = _damage(folder)
            if not damage:
                return
            if folder.is_dir():
                log.warning("prepared case %s in %s: %s; it is prepared again", request.name, folder, damage)
            clear_partial(folder)
            case = request.prepare()
            try:
                with partial_folder(folder) as partial:
                    write_case(case, partial)
            except (OSError, RuntimeError) as error:
                raise WriteError(f"cannot write prepared case {request.name} to {self.folder}: {_reason(error)}; free "
                                 "disk space, or set output_dir to a larger disk") from error  # fmt: skip
            self.prepared += 1

    def summary(self) -> str:
        """How often this process has prepared a case, in a sentence."""
        again = f", {self.prepared_in_memory} for one use, without storing them" if self.prepared_in_memory else ""
        return f"cases prepared: {self.prepared + self.prepared_in_memory}{again}"

    def room(self) -> Room:
        """The room for further cases, after all cases that no running job uses were evicted."""
        used = self.uses.everyone()
        sizes = self.sizes()
        evictable = sum(size for key, size in sizes.items() if key not in used)
        disk = Room(self._free_bytes() + evictable, "free disk space")
        if self.settings.keep_gib is None:
            return disk
        kept = int(self.settings.keep_gib * GIB) - self._copies() - sum(sizes.values()) + evictable
        return min(disk, Room(kept, f"data.keep_gib={self.settings.keep_gib:g}"), key=lambda room: room.nbytes)

    def evict(self, needed: int = 0) -> list[str]:
        """Delete unused cases, the least recently used first, until the limits leave `needed` bytes.

        Returns:
            The keys of the deleted cases.
        """
        with self._locked():
            self._sweep()
            sizes, used = self.sizes(), self.uses.everyone()
            excess = needed - self._free_bytes()
            if self.settings.keep_gib is not None:
                kept = int(self.settings.keep_gib * GIB) - self._copies()
                excess = max(excess, needed + sum(sizes.values()) - kept)
            return self._delete((key for key in self._by_last_use(sizes) if key not in used), sizes, excess)

    def clean(self, keep_bytes: int = 0) -> tuple[int, int]:
        """Delete cases that no running job uses until at most `keep_bytes` are left.

        Returns:
            The number of deleted cases and their bytes.
        """
        with self._locked():
            self._sweep()
            sizes, used = self.sizes(), self.uses.everyone()
            unused = [key for key in self._by_last_use(sizes) if key not in used]
            deleted = self._delete(unused, sizes, sum(sizes.values()) - keep_bytes)
            for path in self.folder.glob(".?*.lock"):
                key = path.name.removeprefix(".").removesuffix(".lock")
                if key not in used and not self.place(key).exists():
                    with self._unlocked(key) as unlocked:
                        if unlocked:
                            path.unlink(missing_ok=True)
            return len(deleted), sum(sizes[key] for key in deleted)

    def sizes(self) -> dict[str, int]:
        """The bytes of each stored case, by its key."""
        try:
            return {path.name: _size(path) for path in self.folder.iterdir() if path.name[0] != "." and path.is_dir()}
        except OSError:  # there is no store, or it is just being deleted
            return {}

    def size(self, key: str) -> int:
        """The bytes of a stored case; 0 if it is not there."""
        return _size(self.place(key))

    def _sweep(self) -> None:
        """Delete what killed processes left half made or half deleted."""
        for path in self.folder.glob(".*-*"):
            key = path.name[1:].partition("-")[0]
            with self._unlocked(key) as unlocked:
                if unlocked and path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _unlocked(self, key: str) -> Iterator[bool]:
        """Whether no process is preparing a case; none can begin to during the block."""
        lock = FileLock(self.folder / f".{key}.lock", blocking=False)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _free_bytes(self) -> int:
        """Bytes of the disk that may be used."""
        disk = shutil.disk_usage(_existing(self.folder))
        return disk.free - min(FREE_BYTES, disk.total // 20)

    def _copies(self) -> int:
        """The bytes of the copies that nnU-Net trains from."""
        size = 0
        for folder in self.settings.copies:
            for place, _, names in os.walk(folder):
                for name in names:
                    with _ignored_os_errors():  # deleted meanwhile
                        size += (Path(place) / name).stat().st_size
        return size

    def _by_last_use(self, keys: Iterable[str]) -> list[str]:
        return sorted(keys, key=lambda key: _modified(self.place(key)))

    def _delete(self, keys: Iterable[str], sizes: dict[str, int], excess: int) -> list[str]:
        deleted: list[str] = []
        for key in keys:
            if excess <= 0:
                break
            trash = self.folder / f".{key}-deleted"
            with _ignored_os_errors():
                shutil.rmtree(trash, ignore_errors=True)
                self.place(key).rename(trash)  # at once, so that nobody opens half of it
                shutil.rmtree(trash, ignore_errors=True)
                excess -= sizes[key]
                deleted.append(key)
        return deleted

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            yield

    def use(self, keys: Iterable[str]) -> None:
        """Mark cases as used by this process, so that nobody evicts them."""
        with self._locked():
            self.uses.add(keys)


def active_store() -> PreparedStore | None:
    """The store of the running job; None outside of a job that stores prepared cases."""
    settings = prepared_settings()
    return _store(settings) if settings is not None else None


@cache
def _store(settings: PreparedSettings) -> PreparedStore:
    return PreparedStore(settings)


@contextmanager
def _ignored_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.debug("%s", error)


def _damage(folder: Path) -> str:
    """What is wrong with a prepared case; empty if it is sound."""
    try:
        open_case(folder, "")
    except BrokenCaseError as error:
        return str(error)
    return ""


def _reason(error: BaseException) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else one_line(error)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _size(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except OSError:  # deleted meanwhile
        return 0


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
