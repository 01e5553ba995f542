"""Limits of a job under any launcher: its time limit, and fail-fast after the failure of another job."""

import gc
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from benchmark.errors import InputError, NotStartedError, TimeLimitError

AGAIN = 0.01  # seconds until a limit that passed where exceptions are dropped is raised


@contextmanager
def within(minutes: float | None) -> Iterator[None]:
    """Raise TimeLimitError if the block takes longer than a limit.

    The limit uses a signal, which only the main thread of a process receives; every launcher runs jobs there. A long
    call of a compiled library is not interrupted until it returns.

    Args:
        minutes: The limit; None for no limit.

    Raises:
        InputError: The limit is not a positive number.
        TimeLimitError: The block took too long.
    """
    if minutes is None:
        yield
        return
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or minutes <= 0:
        raise InputError(f"time_limit must be a positive number of minutes, got {minutes}")
    if threading.current_thread() is not threading.main_thread():
        raise InputError("time_limit needs a launcher that runs jobs in the main thread of a process")

    def ring(number: int, frame: FrameType | None) -> None:
        if _ignores_exceptions(frame):
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
            return
        raise TimeLimitError(f"job exceeded time_limit ({minutes:g} minutes)")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, minutes * 60.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def _ignores_exceptions(frame: FrameType | None) -> bool:
    """Whether Python drops an exception raised here: within `__del__` or a callback of the garbage collector."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        if frame.f_code.co_name == "__del__" or frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


@contextmanager
def failing_fast(stop: Path | None) -> Iterator[None]:
    """Run the block unless another job has failed; if it fails, jobs that have not started are not run.

    Args:
        stop: A file that all jobs of a bench share; None turns fail-fast off.

    Raises:
        NotStartedError: Another job has failed.
    """
    if stop is not None and stop.exists():
        raise NotStartedError("not started because another job failed")
    try:
        yield
    except Exception:
        if stop is not None:
            stop.touch()
        raise
