"""Retries with growing pauses while a store or a database is unavailable."""

from collections.abc import Callable
from typing import TypeVar

from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from benchmark.errors import InputError, one_line

UNWRITABLE = ("readonly database", "disk is full", "No space left", "Read-only file system", "disk I/O error")
# a server with no free database connection answers BAD_REQUEST with the last of these texts
AWAY = ("API request to", "database is locked", "could not connect", "Connection refused", "QueuePool limit")
Result = TypeVar("Result")


def patiently(call: Callable[..., Result], *arguments: object, seconds: float, hint: str) -> Result:
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
