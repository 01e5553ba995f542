"""Ctrl-C in the workers of joblib, which get it from the terminal as the command that started them does."""

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt a job of a worker, which then records that it was stopped; nothing in other processes.

    Between its jobs a worker ignores Ctrl-C from its first job on: it would print a traceback, and the command ends it.
    """
    from joblib.externals.loky.backend.process import LokyProcess  # a top-level import would load numpy

    if not isinstance(multiprocessing.current_process(), LokyProcess):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
