"""Ctrl-C in the workers of joblib, of the preparation and of a pool of nnU-Net, and in other processes."""

import multiprocessing
import os
import signal
import time

import pytest
from joblib.externals.loky import ProcessPoolExecutor

from benchmark.jobs.interrupts import interruptible, no_interrupt_dropped, only_this_process_interrupted


@pytest.fixture(autouse=True)
def _terminal():
    """Handle SIGINT as a program of a terminal does; in the background of a script a program ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_worker_of_a_command_that_ignores_it_does_so_too():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with only_this_process_interrupted(), ProcessPoolExecutor(1) as worker:
        assert worker.submit(_interrupted_job).result() == "goes on"


def test_a_worker_is_interrupted_within_its_jobs_only():
    with ProcessPoolExecutor(1) as worker:
        with pytest.raises(KeyboardInterrupt):
            worker.submit(_interrupted_job).result()
        assert worker.submit(_press, "between two jobs").result() == "between two jobs"
        with pytest.raises(KeyboardInterrupt):
            worker.submit(_interrupted_job).result()


def test_a_process_that_is_no_worker_keeps_its_handler():
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_of_the_preparation_leaves_ctrl_c_to_its_parent():
    from benchmark.data.prepared import preparing  # the workers of the other tests need no torch

    with ProcessPoolExecutor(1, initializer=preparing._start, initargs=(os.getpid(), None)) as worker:
        assert worker.submit(_press, "goes on").result() == "goes on"


def test_processes_started_in_the_block_do_not_get_it_and_this_one_does():
    with only_this_process_interrupted(), multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_press, ("goes on",)) == "goes on"
        with pytest.raises(KeyboardInterrupt):
            _press_here()
    with pytest.raises(KeyboardInterrupt):
        _press_here()


def test_a_worker_that_starts_blocked_is_interrupted_within_its_jobs():
    with only_this_process_interrupted(), ProcessPoolExecutor(1) as worker:
        assert worker.submit(_press, "before its first job").result() == "before its first job"
        with pytest.raises(KeyboardInterrupt):
            worker.submit(_interrupted_job).result()
        assert worker.submit(_press, "between two jobs").result() == "between two jobs"


class Ends:
    def __del__(self):
        raise KeyboardInterrupt  # as for a signal that arrives here


def _end():
    ends = [Ends()]
    ends.clear()
    for _ in range(1000):
        time.sleep(0.01)


def test_an_interruption_that_python_drops_is_raised_again():
    with no_interrupt_dropped(), pytest.raises(KeyboardInterrupt):
        _end()


def _press_here():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        time.sleep(0.01)


def _interrupted_job():
    with interruptible():
        return _press("goes on")


def _press(told):
    os.kill(os.getpid(), signal.SIGINT)
    return told
