"""One owner a job: whoever claims a key works on it, everyone else waits; a dead owner's claim frees itself.

On one machine a file lock does it (the kernel frees it when its process dies), with a PostgreSQL server an advisory
lock of its session (the server frees it when the connection ends).
"""

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from benchmark.errors import InputError
from benchmark.tracking.retry import patiently

PAUSE = 0.2  # seconds between two tries
log = logging.getLogger(__name__)


@contextmanager
def claimed(key: str, place: str, *, patience: float = 60.0) -> Iterator[None]:
    """Hold a job's key while the block runs; waits for whoever holds it.

    Args:
        key: The job's key.
        place: A folder for file locks, or the address of a PostgreSQL database.
        patience: Seconds that the database may be away.

    Raises:
        InputError: The database does not answer.
    """
    with _advisory(key, place, patience) if place.startswith("postgresql") else _file(key, Path(place)):
        yield


def claims_place(uri: str, locks: str, outbox: Path) -> str:
    """Where the jobs of a store are claimed.

    Args:
        uri: The store's address.
        locks: A PostgreSQL address or a folder that was asked for; empty for the store's own choice.
        outbox: The folder of results that wait for delivery.

    Returns:
        What was asked for, the store's own database where it is PostgreSQL, a folder beside its file, or one beside the
        outbox, which machines that share no folder do not share.
    """
    if locks or uri.startswith("postgresql"):
        return locks or uri
    if uri.startswith("sqlite:///"):
        return f"{Path(uri.removeprefix('sqlite:///')).absolute()}.locks"
    return f"{outbox}.locks"


def forget(key: str, place: str) -> None:
    """Remove what a claim of a finished job leaves on disk; two owners of a finished job have nothing to do."""
    if not place.startswith("postgresql"):
        _path(key, Path(place)).unlink(missing_ok=True)


def _path(key: str, folder: Path) -> Path:
    return folder / f"{key}.lock"


@contextmanager
def _file(key: str, folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_path(key, folder))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that works on %s", key[:16])
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory(key: str, uri: str, patience: float) -> Iterator[None]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big", signed=True)
    engine = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    connection = patiently(engine.connect, seconds=patience, hint="tracking.locks must be a database that answers")
    try:
        waited = False
        while not connection.execute(text("select pg_try_advisory_lock(:n)"), {"n": number}).scalar():
            if not waited:
                log.info("waiting for another process that works on %s", key[:16])
            waited = True
            time.sleep(PAUSE)
    except SQLAlchemyError as error:
        raise InputError(
            f"tracking.locks must be a database that answers, got: {' '.join(str(error).split())}"
        ) from error
    try:
        yield
    finally:
        with suppress(SQLAlchemyError):  # a server that is gone has freed it
            connection.close()
