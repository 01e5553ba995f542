"""What to do about a block that kills the process: the kernel kills one that takes too much memory, without a word."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.errors import SkipPair
from benchmark.ranking.source_errors import own_files


@contextmanager
def attempt(marker: Path, doing: str, *, most: int) -> Iterator[None]:
    """Run the block, unless earlier runs were killed in it too often.

    A marker lies on disk while the block runs. An exception, Ctrl-C included, removes it; only a killed process leaves
    it there.

    Args:
        marker: The file; its folder exists.
        doing: What the block does, for the reason.
        most: How often a process may be killed in the block.

    Raises:
        SkipPair: The process was killed in the block that often.

    Example:
        >>> import tempfile
        >>> marker = Path(tempfile.mkdtemp()) / "step.attempt"
        >>> _ = marker.write_text("1 0")  # as a process leaves it that was killed once
        >>> with attempt(marker, "in its training step", most=1):
        ...     pass
        Traceback (most recent call last):
        benchmark.errors.SkipPair: the process was killed in its training step, ...
    """
    kills = _kills(marker)
    if kills >= most:
        often = "" if kills == 1 else f" {kills} times"
        raise SkipPair(f"the process was killed{often} {doing}, probably because memory ran out; "
                       f"delete {marker} to try again")  # fmt: skip
    with own_files(marker.parent):
        marker.write_text(f"{kills + 1} {os.getpid()}", encoding="ascii")
    try:
        yield
    finally:
        marker.unlink(missing_ok=True)


def _kills(marker: Path) -> int:
    """How many processes were killed; one that still runs, beside this one, was not."""
    try:
        kills, process = (int(word) for word in marker.read_text(encoding="ascii").split())
        if process > 0:
            os.kill(process, 0)  # sends nothing: raises where there is no such process
    except ProcessLookupError:
        return kills
    except (OSError, ValueError):
        return 0
    return kills if process <= 0 else kills - 1
