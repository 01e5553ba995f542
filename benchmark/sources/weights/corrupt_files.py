"""Turn the failures that malformed description files cause into a one-line error, which a pool can skip."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import InputError, SkipPair, one_line

BROKEN = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # what values of the wrong type cause


@contextmanager
def described_by(path: str | Path) -> Iterator[None]:
    """Turn errors while a network is built from description files into an InputError that names the files.

    Args:
        path: The path of the files.

    Raises:
        InputError: A value has the wrong type, or no network can be built from it.
    """
    try:
        yield
    except (InputError, SkipPair):
        raise
    except BROKEN as error:
        reason = one_line(error)
        raise InputError(f"cannot build a network from {path}: {type(error).__name__}: {reason}") from error
