"""A job's time limit."""

import gc
import time
import weakref

import pytest

from benchmark.errors import TimeLimitError
from benchmark.jobs.time_limit import within

LIMIT = 0.05 / 60  # minutes


class Slow:
    """Takes longer to die than the limit."""

    def __del__(self):
        time.sleep(0.1)


def check_exceeded(slow):
    """The limit stops a job that first does something slow, and then waits for much longer."""

    def job():
        with within(LIMIT):
            slow()
            time.sleep(10)

    with pytest.raises(TimeLimitError, match="job exceeded time_limit"):
        job()


def test_a_limit_that_passes_in_a_finaliser_is_raised_after_it():
    check_exceeded(lambda: Slow() and None)


def test_a_limit_that_passes_in_a_callback_of_the_garbage_collector_is_raised_after_it():
    def slow(phase, info):
        if phase == "start":
            time.sleep(0.1)

    gc.callbacks.append(slow)
    try:
        check_exceeded(gc.collect)
    finally:
        gc.callbacks.remove(slow)


def test_a_limit_that_passes_in_a_callback_of_a_weak_reference_is_raised_after_it():
    class Referred:
        pass

    def slow():
        referred = Referred()
        reference = weakref.ref(referred, lambda _: time.sleep(0.1))
        del referred
        assert reference() is None

    check_exceeded(slow)


def test_a_block_in_time_is_not_interrupted():
    with within(1.0):
        time.sleep(0.01)
    time.sleep(2 * LIMIT * 60)
