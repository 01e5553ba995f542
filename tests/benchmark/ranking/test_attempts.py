"""A block that kills the process is not entered again and again; one that ends in any other way is."""

import os
import subprocess
import sys

import pytest

from benchmark.errors import SkipPair
from benchmark.ranking.attempts import attempt

KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark.ranking.attempts import attempt
with attempt(Path(sys.argv[1]), "in its training step", most=2):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "step.attempt"


def test_a_block_that_ends_leaves_nothing(marker):
    with attempt(marker, "in its training step", most=1):
        assert marker.is_file()
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error), attempt(marker, "in its training step", most=1):
            raise error
    assert not marker.exists()


def test_a_process_that_was_killed_too_often_is_told(marker):
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", KILLED, str(marker)], check=False, capture_output=True)
        assert done.returncode == -9
    reason = rf"the process was killed 2 times in its training step, .*; delete {marker} to try again"
    with pytest.raises(SkipPair, match=reason), attempt(marker, "in its training step", most=2):
        pass
    marker.unlink()
    with attempt(marker, "in its training step", most=2):
        pass


def test_a_process_that_still_runs_was_not_killed(marker):
    marker.write_text(f"1 {os.getppid()}")
    with attempt(marker, "in its training step", most=1):
        pass


def test_a_marker_that_says_nothing_is_none(marker):
    marker.write_text("")
    with attempt(marker, "in its training step", most=1):
        pass
