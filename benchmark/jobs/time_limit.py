"""What keeps a job in bounds, on every launcher: its time limit, and the stop after another one's failure."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmark.errors import InputError, NotStartedError, TimeLimitError


@contextmanager
def within(minutes: float | None) -> Iterator[None]:
    """Stop the block with a TimeLimitError when it takes longer.

    A signal does it, which only a process's main thread receives: every launcher runs jobs there. One long call of a
    compiled library ends before the signal is heard.

    Args:
        minutes: The limit; None for none.

    Raises:
        InputError: The limit is not a positive number.
    """
    if minutes is None:
        yield
        return
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or minutes <= 0:
        raise InputError(f"time_limit must be a positive number of minutes, got {minutes}")
    if threading.current_thread() is not threading.main_thread():
        raise InputError("time_limit needs a launcher that runs jobs in the main thread of a process")

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError(f"time_limit must leave a job enough time, got {minutes:g} minutes, which are over")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def failing_fast(stop: Path | None) -> Iterator[None]:
    """Run the block, unless another job has failed; its own failure stops those that have not begun.

    Args:
        stop: A file that all jobs of a bench see; None for jobs that do not care.
    """
    if stop is not None and stop.exists():
        raise NotStartedError("not started, since another job failed")
    try:
        yield
    except Exception:
        if stop is not None:
            stop.touch()
        raise
