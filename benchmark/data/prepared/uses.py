"""Which prepared cases the running jobs use: two files per process, one of them locked as long as the process lives."""

import fcntl
import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from benchmark.storage.files import write_text

log = logging.getLogger(__name__)


class Uses:
    """The keys of the prepared cases that this process uses, written where other processes see them.

    A process's keys are in `NAME.json`; the lock on `NAME.lock` ends with the process, however it ends, and what a dead
    process left is deleted. On a file system without locks every process counts as alive.

    Args:
        folder: Where the files of all processes lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counts: Counter[str] = Counter()
        self._lock: BinaryIO | None = None
        self._process = 0

    def add(self, keys: Iterable[str]) -> None:
        """Mark keys as used; a key that is added twice must be removed twice."""
        self._counts.update(keys)
        self._write()

    def remove(self, keys: Iterable[str]) -> None:
        """Undo `add`."""
        self._counts.subtract(keys)
        self._counts = +self._counts
        if self._process == os.getpid():  # a forked worker must not change its parent's file
            with suppress(OSError):  # called while memory is freed, when nobody could handle an error
                self._write()

    def restore(self) -> None:
        """Write the keys again if the folder was deleted."""
        if self._counts and self._process == os.getpid() and not self._exists():
            self._write()

    def everyone(self) -> set[str]:
        """The keys that any running process uses."""
        used = set(self._counts)
        for path in self._folder.glob("*.lock"):
            if self._lock is None or path.name != Path(self._lock.name).name:
                used |= _keys_of_running(path)
        return used

    def _exists(self) -> bool:
        return self._lock is not None and Path(self._lock.name).is_file()

    def _write(self) -> None:
        if self._process != os.getpid() or not self._exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock, self._process = _new_lock(self._folder), os.getpid()
        if self._lock is not None:
            write_text(Path(self._lock.name).with_suffix(".json"), json.dumps(sorted(self._counts)))


def _new_lock(folder: Path) -> BinaryIO:
    """Create and lock a file; again if another process took it for a dead one's before it was locked."""
    while True:
        path = folder / f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}.lock"
        lock = path.open("wb")
        with suppress(OSError):  # no locks on this file system
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()


def _keys_of_running(path: Path) -> set[str]:
    """The keys of the process with a lock; if it has ended, its files are deleted."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            unfinished = path.parent.glob(f".{path.stem}.json.*")  # written when the process was killed
            for file in (*unfinished, path.with_suffix(".json"), path):
                file.unlink(missing_ok=True)
            return set()
    except FileNotFoundError:
        return set()
    except OSError as error:  # locked; or another user's file, or no locks on this file system
        log.debug("%s: %s", path, error)
    try:
        return set(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # the process has not written its keys yet, or has just ended
        return set()
