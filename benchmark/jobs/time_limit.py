"""Limits of a job under any launcher: its time limit, and fail-fast after the failure of another job."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmark.errors import InputError, NotStartedError, TimeLimitError, is_number
from benchmark.jobs.interrupts import AGAIN, repeated_if_dropped


@contextmanager
def within(minutes: float | None) -> Iterator[None]:
    """Limit the time of a block; None for no limit.

    The limit uses a signal, which only the main thread of a process receives; every launcher runs jobs there. A long
    call of a compiled library is not interrupted until it returns.

    Raises:
        InputError: The limit is not a positive number.
        TimeLimitError: The block took too long.
    """
    if minutes is None:
        yield
        return
    if not is_number(minutes) or minutes <= 0:
        raise InputError(f"time_limit must be a positive number of minutes, got {minutes}")
    if threading.current_thread() is not threading.main_thread():
        raise InputError("time_limit needs a launcher that runs jobs in the main thread of a process")

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError(f"job exceeded time_limit ({minutes:g} minutes)")

    before = signal.signal(signal.SIGALRM, ring)
    with repeated_if_dropped(TimeLimitError, lambda: signal.setitimer(signal.ITIMER_REAL, AGAIN)):
        signal.setitimer(signal.ITIMER_REAL, minutes * 60.0)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)


@contextmanager
def failing_fast(stop: Path | None) -> Iterator[None]:
    """Run the block unless another job has failed; if it fails, jobs that have not started are not run.

    Raises:
        NotStartedError: Another job has created `stop`, a file that all jobs of a bench share; None turns this off.
    """
    if stop is not None and stop.exists():
        raise NotStartedError("not started because another job failed")
    try:
        yield
    except Exception:
        if stop is not None:
            stop.touch()
        raise
