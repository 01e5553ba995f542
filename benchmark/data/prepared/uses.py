"""Which prepared cases the running jobs use: one file per process, locked for as long as the process lives."""

import fcntl
import json
import os
import socket
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO


class Uses:
    """The keys of the prepared cases that this process uses, written where other processes see them.

    The lock ends with the process, however it ends; a file without a lock is a dead process's and is deleted.

    Args:
        folder: Where the files of all processes lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counts: Counter[str] = Counter()
        self._stream: TextIO | None = None
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
            self._write()

    def everyone(self) -> set[str]:
        """The keys that any running process uses."""
        used = set(self._counts)
        for path in self._folder.glob("*.json"):
            if self._stream is not None and path.name == Path(self._stream.name).name:
                continue
            try:
                with path.open("r+", encoding="utf-8") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink(missing_ok=True)
            except BlockingIOError:
                used |= _keys(path)
            except FileNotFoundError:
                continue
        return used

    def _write(self) -> None:
        if self._stream is None or self._process != os.getpid() or not Path(self._stream.name).is_file():
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}.json"
            self._stream, self._process = path.open("w", encoding="utf-8"), os.getpid()
            fcntl.flock(self._stream, fcntl.LOCK_EX)
        self._stream.seek(0)
        self._stream.truncate()
        self._stream.write("\n".join(json.dumps(key) for key in self._counts))
        self._stream.flush()


def _keys(path: Path) -> set[str]:
    try:
        return {json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()}
    except (OSError, ValueError):  # it is just being written, under the store's lock, or its process has ended
        return set()
