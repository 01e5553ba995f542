"""Locks on job keys, so that only one process works on a job, and retries while a store is unavailable.

A lock is a file lock, which the kernel frees when the process dies, or an advisory lock of a PostgreSQL session,
which the server frees when the connection ends.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from requests.exceptions import RequestException
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from benchmark.errors import InputError, one_line

PAUSE = 0.2  # seconds between two attempts
UNWRITABLE = ("readonly database", "disk is full", "No space left", "Read-only file system", "disk I/O error")
# a server with no free database connection answers BAD_REQUEST with the last of these texts
AWAY = ("API request to", "database is locked", "could not connect", "Connection refused", "QueuePool limit")
Result = TypeVar("Result")
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


def patiently(call: Callable[..., Result], *arguments: Any, seconds: float, hint: str) -> Result:
    """Call a store, and retry with growing pauses while it is unavailable.

    Args:
        call: The function to call; calling it twice must be harmless.
        *arguments: Its arguments.
        seconds: How long to retry.
        hint: Start of the error message, which the cause follows.

    Raises:
        InputError: The store is still unavailable, or cannot be written.
    """
    tries = Retrying(
        retry=retry_if_exception(is_away),
        stop=stop_after_delay(seconds),
        wait=wait_random_exponential(multiplier=0.2, max=5.0),
        reraise=True,
    )
    try:
        return tries(call, *arguments)
    except Exception as error:
        if not (is_away(error) or is_unwritable(error)):
            raise
        raise InputError(f"{hint}: {one_line(error)}") from error


def is_away(error: BaseException) -> bool:
    """Whether a retry may help: the server does not answer, or the database is locked or starting."""
    if is_unwritable(error):
        return False
    code = getattr(error, "error_code", "")  # MLflow's
    known = isinstance(error, RequestException | OperationalError) or code == "TEMPORARILY_UNAVAILABLE"
    return known or (bool(code) and any(words in str(error) for words in AWAY))


def is_unwritable(error: BaseException) -> bool:
    """Whether a disk is full or read-only."""
    return any(words in str(error) for words in UNWRITABLE)
