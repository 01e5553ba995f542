"""Digests of files, remembered between jobs in one SQLite file, so that unchanged files are not read again.

A digest is reused if the file's absolute path, size, inode, modification time and change time are those under which it
was computed. The file system sets the change time at every write and rename, and programs cannot set it back: content
replaced under its former size and modification time is noticed, in a new inode and in the same one. The limit is a
file system without change times (FAT): there, new content of the same size, in the same inode and with the modification
time set back, goes unnoticed.

The SQLite file is only a cache. It may be deleted at any time, and jobs without access to it compute every digest.
"""

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path

from benchmark.errors import InputError

RACY_NS = 2 * 10**9  # FAT's resolution is the coarsest: a younger file may change again without another time
LOCK_SECONDS = 10.0  # a write takes milliseconds
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
TABLE = "CREATE TABLE IF NOT EXISTS digests (path BLOB PRIMARY KEY, state TEXT, digest TEXT, checksum TEXT)"
# after a power failure the rows' checksums, not the disk's order of writes, keep wrong digests out
SETTINGS = "PRAGMA synchronous = OFF"

log = logging.getLogger(__name__)
_memory: ContextVar["DigestMemory | None"] = ContextVar("digest_memory", default=None)


@contextmanager
def remembering(path: Path, *, one_job: bool = False) -> Iterator[None]:
    """Remember digests in an SQLite file during the block; without such a block nothing is remembered.

    Args:
        path: The SQLite file.
        one_job: Whether the block is a job, during which its inputs must not change.
    """
    token = _memory.set(DigestMemory(path, one_job=one_job))
    try:
        yield
    finally:
        _memory.reset(token)


@contextmanager
def forgetting() -> Iterator[None]:
    """Compute every digest during the block and write none of them: for a command that leaves no file."""
    token = _memory.set(None)
    try:
        yield
    finally:
        _memory.reset(token)


def remembering_path() -> Path | None:
    """The SQLite file of the block that runs; None outside of one."""
    memory = _memory.get()
    return memory.path if memory is not None else None


def remember_in(path: Path) -> None:
    """Remember digests in an SQLite file for as long as the process lives; for the workers of a job."""
    _memory.set(DigestMemory(path))


def remembered(digest: Callable[[Path], str], *, is_input: bool = False) -> Callable[[Path], str]:
    """Wrap `digest`, which computes the SHA-256 of a file's content, so that digests of unchanged files are remembered.

    With `is_input` the file is an input of the job: the function raises an InputError if its content is not what it was
    when the job first asked, since the job's key and its results would be of different data.

    The code of a job counts as if `remembered(digest)` were `digest`, so keys do not depend on this module.
    """
    memory = _memory.get()
    if memory is None:
        return digest
    return partial(memory.input_digest if is_input else memory.digest, digest)


class DigestMemory:
    """Digests in an SQLite file, which several processes and threads may use at once.

    A damaged file is replaced; if it cannot be read or written, it is no longer used. A log line says so.

    Args:
        path: The SQLite file; it and its folder are created when the first digest is remembered.
        one_job: Whether inputs must not change.
    """

    def __init__(self, path: Path, *, one_job: bool = False) -> None:
        self._inputs: dict[bytes, str] | None = {} if one_job else None
        self.path = path.absolute()  # a network's code may change the working directory
        self._usable = True

    def digest(self, compute: Callable[[Path], str], path: Path) -> str:
        """The digest of a file: the remembered one, or the one computed now.

        A file that changes while it is read, or changed less than 2 s before, is not remembered.

        Raises:
            OSError: The file cannot be opened.
        """
        started = time.time_ns()
        state, changed = _state(path)
        name = os.fsencode(path.absolute())
        if (known := self._read(name, state)) is not None:
            return known
        digest = compute(path)
        if started - changed >= RACY_NS and _is_still(path, state):
            self._write(name, state, digest)
        return digest

    def input_digest(self, compute: Callable[[Path], str], path: Path) -> str:
        """The digest of an input, as in `digest`.

        Raises:
            InputError: The file has changed since the job first asked.
        """
        digest = self.digest(compute, path)
        if self._inputs is not None and self._inputs.setdefault(os.fsencode(path.absolute()), digest) != digest:
            raise InputError(f"{path} changed after the job had started; run it again")
        return digest

    def _read(self, name: bytes, state: str) -> str | None:
        if not self._usable or not self.path.is_file():
            return None
        with self._caught(), closing(self._connect()) as database:
            database.execute(TABLE)
            query = "SELECT digest, checksum FROM digests WHERE path = ? AND state = ?"
            row = database.execute(query, (name, state)).fetchone()
            if row is not None and row[1] == _checksum(name, state, row[0]):
                return str(row[0])
        return None

    def _write(self, name: bytes, state: str, digest: str) -> None:
        if not self._usable:
            return
        with self._caught():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database:
                database.execute(TABLE)
                row = (name, state, digest, _checksum(name, state, digest))
                database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", row)

    def _connect(self) -> sqlite3.Connection:
        """A connection of one call only, since none may be used across a fork; each statement is a transaction.

        The journal stays SQLite's default, since a write-ahead log must not be shared by several machines.
        """
        database = sqlite3.connect(self.path, timeout=LOCK_SECONDS, isolation_level=None)
        database.execute(SETTINGS)
        return database

    @contextmanager
    def _caught(self) -> Iterator[None]:
        """Replace a damaged file, or stop using one that fails otherwise; never raise."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            code = getattr(error, "sqlite_errorcode", None)
            self._usable = code is not None and code & 0xFF in DAMAGED and self._removed()
            outcome = "it is replaced" if self._usable else "files are digested without it"
            log.warning("cannot use the remembered digests in %s: %s; %s", self.path, error, outcome)

    def _removed(self) -> bool:
        try:
            self.path.unlink(missing_ok=True)
            self.path.with_name(f"{self.path.name}-journal").unlink(missing_ok=True)
        except OSError:
            return False
        return True


def _state(path: Path) -> tuple[str, int]:
    """What must be equal for a file to count as unchanged, and the ns of its last change.

    The file is opened, since a network file system compares its cached attributes with the server's only then.
    """
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
    state = f"{status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
    return state, max(status.st_mtime_ns, status.st_ctime_ns)


def _is_still(path: Path, state: str) -> bool:
    try:
        return _state(path)[0] == state
    except OSError:
        return False


def _checksum(name: bytes, state: str, digest: object) -> str:
    return hashlib.sha256(b"\0".join([name, state.encode(), str(digest).encode()])).hexdigest()
