"""Files that describe a network and are not what they should be: one line, and a pool goes on without them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import InputError, SkipPair

BROKEN = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # what values of a wrong kind lead to


@contextmanager
def described_by(path: str | Path) -> Iterator[None]:
    """Read a description; what its values make fail is the description's fault.

    Args:
        path: Where the files lie.

    Raises:
        InputError: A value is of a wrong kind, or no network can be built from it.
    """
    try:
        yield
    except (InputError, SkipPair):
        raise
    except BROKEN as error:
        told = " ".join(str(error).split())[:200]
        raise InputError(f"{path} must describe a network, got: {type(error).__name__}: {told}") from error
