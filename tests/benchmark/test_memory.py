"""Peak memory: what a job takes on top is seen, and earlier jobs do not count."""

import sys

import numpy as np
import pytest

from benchmark.memory import peak_memory, reset_peak_memory

LARGE = 200  # megabytes
SLACK = 50  # megabytes: other allocations of this process


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of a process")
def test_the_peak_rises_with_an_array_and_is_forgotten():
    reset_peak_memory("cpu")
    before = peak_memory("cpu")
    array = np.ones(LARGE * 2**20 // 8)
    assert peak_memory("cpu") - before > LARGE - SLACK
    del array
    reset_peak_memory("cpu")
    assert peak_memory("cpu") - before < SLACK
