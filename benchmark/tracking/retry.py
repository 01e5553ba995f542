"""Try again while a store is away; tell in one line when it stays away or cannot be written."""

from collections.abc import Callable
from typing import Any, TypeVar

from requests.exceptions import RequestException
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from benchmark.errors import InputError

UNWRITABLE = ("readonly database", "disk is full", "No space left", "Read-only file system", "disk I/O error")
# a server whose connections to its database are all in use answers BAD_REQUEST, with the last of these words
AWAY = ("API request to", "database is locked", "could not connect", "Connection refused", "QueuePool limit")
Result = TypeVar("Result")


def patiently(call: Callable[..., Result], *arguments: Any, seconds: float, hint: str) -> Result:
    """Call a store, again and again with growing pauses while it is away.

    Args:
        call: What to call; doing it twice must do no harm.
        *arguments: Its arguments.
        seconds: How long to try.
        hint: What the user is told beside the error.

    Raises:
        InputError: The store stayed away, or cannot be written.
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
        raise InputError(f"{hint}, got: {' '.join(str(error).split())[:500]}") from error


def is_away(error: BaseException) -> bool:
    """Whether trying again may help: the server does not answer, or the database is locked or just starting."""
    if is_unwritable(error):
        return False
    code = getattr(error, "error_code", "")  # MLflow's
    known = isinstance(error, RequestException | OperationalError) or code == "TEMPORARILY_UNAVAILABLE"
    return known or (bool(code) and any(words in str(error) for words in AWAY))


def is_unwritable(error: BaseException) -> bool:
    """Whether a disk is full or read-only."""
    return any(words in str(error) for words in UNWRITABLE)
