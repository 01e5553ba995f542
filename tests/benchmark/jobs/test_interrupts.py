"""Ctrl-C in the workers of joblib and of the preparation, and in other processes."""

import os
import signal

import pytest
from joblib.externals.loky import ProcessPoolExecutor

from benchmark.data.prepared import preparing
from benchmark.jobs.interrupts import interruptible


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
    with ProcessPoolExecutor(1, initializer=preparing._start, initargs=(os.getpid(), None)) as worker:
        assert worker.submit(_press, "goes on").result() == "goes on"


def _interrupted_job():
    with interruptible():
        _press("")


def _press(told):
    os.kill(os.getpid(), signal.SIGINT)
    return told
