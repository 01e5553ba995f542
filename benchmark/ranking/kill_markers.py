"""Markers on disk that show in which block a process was killed, for example by the kernel for want of memory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmark.errors import SkipPair
from benchmark.ranking.source_errors import own_files

BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux; another one after a restart of the machine
SAME_START = 2.0  # seconds; a process's start time can move by up to one second when the clock is adjusted


@contextmanager
def attempt(marker: Path, doing: str, *, most: int, again: str = "") -> Iterator[None]:
    """Run the block, unless earlier processes were killed in it too often, for example for want of memory.

    A marker lies on disk while the block runs. An exception, Ctrl-C included, removes it; only a killed process leaves
    it there.

    Args:
        marker: The file; its folder is created if missing.
        doing: What the block does, for the reason.
        most: How often a process may be killed in the block.
        again: How to try again, for the reason; by default by deleting the marker.

    Raises:
        SkipPair: The process was killed in the block that often.

    Example:
        >>> import tempfile
        >>> marker = Path(tempfile.mkdtemp()) / "step.attempt"
        >>> _ = marker.write_text("1 0 0 -")  # as a process leaves it that was killed once
        >>> with attempt(marker, "in its training step", most=1):
        ...     pass
        Traceback (most recent call last):
        benchmark.errors.SkipPair: the process was killed in its training step, ...
    """
    kills = _kills(marker)
    if kills >= most:
        often = "" if kills == 1 else f" {kills} times"
        raise SkipPair(f"the process was killed{often} {doing}, probably because memory ran out; "
                       f"{again or f'delete {marker} to try again'}")  # fmt: skip
    with own_files(marker.parent):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(f"{kills + 1} {os.getpid()} {_start():.2f} {_boot()}", encoding="ascii")
    try:
        yield
    finally:
        with own_files(marker.parent):
            marker.unlink(missing_ok=True)


def _kills(marker: Path) -> int:
    """How many processes were killed in the block; one that is still running was not."""
    try:
        words = marker.read_text(encoding="ascii").split()
        kills, process = int(words[0]), int(words[1])
        start, boot = (float(words[2]), words[3]) if len(words) > 2 else (0.0, "")
    except (OSError, ValueError, IndexError):
        return 0
    return kills - 1 if _runs(process, start, boot) else kills


def _runs(process: int, start: float, boot: str) -> bool:
    """Whether another process with this number, start and boot still runs.

    The number is not enough, since every run in a container may have the same one. A killed process keeps its number as
    a zombie until its parent waits for it.
    """
    if process == os.getpid() or not start or boot != _boot():
        return False
    with suppress(psutil.Error, ValueError):  # ValueError: a negative number
        other = psutil.Process(process)
        return bool(other.status() != psutil.STATUS_ZOMBIE and abs(other.create_time() - start) < SAME_START)
    return False


def _start() -> float:
    """When this process started, in seconds since 1970; 0 where that cannot be known."""
    try:
        return float(psutil.Process().create_time())
    except psutil.Error:
        return 0.0


def _boot() -> str:
    """An identifier of this boot of the machine; "-" where the system does not say."""
    try:
        return BOOT.read_text(encoding="ascii").strip() or "-"
    except OSError:
        return "-"
