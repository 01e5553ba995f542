"""Locks on job keys, so that only one process works on a job.

A lock is a file lock, which the kernel frees when the process dies, or an advisory lock of a PostgreSQL session,
which the server frees when the connection ends.
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from benchmark.errors import InputError, one_line
from benchmark.tracking.retries import patiently

PAUSE = 0.2  # seconds between two attempts
log = logging.getLogger(__name__)


def claimed(key: str, place: str, *, patience: float = 60.0) -> AbstractContextManager[None]:
    """Lock a job key for the block, after waiting for its current owner.

    Args:
        key: The job's key.
        place: A folder for file locks, or the address of a PostgreSQL database.
        patience: Seconds to keep trying to reach the database.

    Raises:
        InputError: The database does not answer.
    """
    return _advisory(key, place, patience) if place.startswith("postgresql") else _file(key, Path(place))


def claims_place(uri: str, locks: str, outbox: Path) -> str:
    """Choose where the jobs of a store are locked.

    This is the setting `tracking.locks`, a PostgreSQL address or a folder, unless it is empty; then the store's
    PostgreSQL database, a folder next to its sqlite file, or a folder next to the outbox, which only protects machines
    that share it.
    """
    if locks or uri.startswith("postgresql"):
        return locks or uri
    if uri.startswith("sqlite:///"):
        return f"{Path(uri.removeprefix('sqlite:///')).absolute()}.locks"
    return f"{outbox}.locks"


def forget(key: str, place: str) -> None:
    """Delete the lock file of a finished job; a second owner of a finished job has nothing to do."""
    if not place.startswith("postgresql"):
        _path(key, Path(place)).unlink(missing_ok=True)


def _path(key: str, folder: Path) -> Path:
    return folder / f"{key}.lock"


@contextmanager
def _file(key: str, folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_path(key, folder))
    try:
        acquired = lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that is working on %s", key[:16])
        acquired = lock.acquire()
    with acquired:
        yield


@contextmanager
def _advisory(key: str, uri: str, patience: float) -> Iterator[None]:
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
    connect = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect
    connection = patiently(connect, seconds=patience, hint="cannot reach the database of tracking.locks")
    try:
        for attempt in count():
            if connection.execute(text("select pg_try_advisory_lock(:n)"), {"n": number}).scalar():
                break
            if attempt == 0:
                log.info("waiting for another process that is working on %s", key[:16])
            time.sleep(PAUSE)
    except SQLAlchemyError as error:
        raise InputError(f"cannot reach the database of tracking.locks: {one_line(error)}") from error
    try:
        yield
    finally:
        with suppress(SQLAlchemyError):  # a stopped server has freed the lock
            connection.close()
