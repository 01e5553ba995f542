"""Ctrl-C, which a terminal sends to a command and to all processes that it started.

Only the command's own process should act on it, and end the others: a process that Python starts prints a traceback
when it is interrupted, and a pool whose processes die while they start may wait for them forever.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.resource_tracker import ensure_running
from types import FrameType

CTRL_C = {signal.SIGINT}
AGAIN = 0.01  # seconds until an error that a signal raised where Python drops exceptions is raised again


@contextmanager
def repeated_if_dropped(error: type[BaseException], repeat: Callable[[], object]) -> Iterator[None]:
    """Call `repeat` if Python drops an error of a signal.

    Python drops what a finaliser, a weak reference's callback or the garbage collector's callback raises.
    """
    report_dropped = sys.unraisablehook

    def notice(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, error):
            repeat()
        else:
            report_dropped(dropped)

    sys.unraisablehook = notice
    try:
        yield
    finally:
        sys.unraisablehook = report_dropped


@contextmanager
def no_interrupt_dropped() -> Iterator[None]:
    """Interrupt this process again if Python drops an interruption."""
    with repeated_if_dropped(KeyboardInterrupt, lambda: threading.Timer(AGAIN, _interrupt).start()):
        yield


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def only_this_process_interrupted() -> Iterator[None]:
    """Block Ctrl-C in the processes that the block starts; this process gets it if its main thread runs the block.

    Processes inherit the main thread's blocked signals. The signal itself goes to the thread that waits here, and
    Python raises KeyboardInterrupt in the main thread as soon as no system call holds it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _start_trackers()
    over = threading.Event()
    threading.Thread(target=over.wait, name="takes Ctrl-C", daemon=True).start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()


def _start_trackers() -> None:
    """Start the processes that track what other processes share: to start one later would unblock the signal."""
    from joblib.externals.loky.backend.resource_tracker import ensure_running as ensure_running_of_loky  # as below

    ensure_running()
    ensure_running_of_loky()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt a job in a worker of joblib, which then records that it was stopped.

    A worker starts with Ctrl-C blocked, and ignores it between its jobs. Nothing changes in other processes, nor if the
    command ignores Ctrl-C, as one in the background of a shell script does.
    """
    from joblib.externals.loky.backend.process import LokyProcess  # a top-level import would load numpy

    is_worker = isinstance(multiprocessing.current_process(), LokyProcess)
    if not is_worker or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)  # raises if it was pressed since the worker started
        yield
    finally:
        signal.signal(signal.SIGINT, _do_nothing)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    pass
