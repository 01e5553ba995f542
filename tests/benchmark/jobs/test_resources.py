"""The peak of a job's memory: it rises with what the job allocates, and earlier jobs of the process do not count."""

import subprocess
import sys

import pytest

from benchmark.jobs.cli import CONF

# In a process of its own: the resident set of one that has run a thousand tests is not ours alone to move.
MEASURE = """
import numpy as np
from benchmark.jobs.resources import peak_memory, reset_peak_memory
reset_peak_memory("cpu")
before = peak_memory("cpu")
array = np.ones(200 * 2**20 // 8)
print(peak_memory("cpu") - before)
del array
reset_peak_memory("cpu")
print(peak_memory("cpu") - before)
"""
LARGE = 200  # megabytes
SLACK = 50  # megabytes: other allocations of the process


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak of a process")
def test_the_peak_rises_with_an_array_and_is_forgotten():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, cwd=CONF.parent)
    risen, left = map(float, done.stdout.split())
    assert risen > LARGE - SLACK
    assert left < SLACK
