"""Markers of killed processes: who left one, and when a block is skipped."""

import os
import subprocess
import sys

import psutil
import pytest

from benchmark.errors import SkipPair
from benchmark.ranking import kill_markers
from benchmark.ranking.kill_markers import attempt

LATER = 60.0  # seconds after a process started, when the process that had its number before was long gone
KILLED = """
import os, signal, sys
from pathlib import Path
from benchmark.ranking.kill_markers import attempt
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


def left_by(process, *, later=0.0, boot=None):
    """A marker as a process leaves it that is killed for the first time."""
    start = psutil.Process(process).create_time() + later
    return f"1 {process} {start:.2f} {kill_markers._boot() if boot is None else boot}"


def is_skipped(marker):
    try:
        with attempt(marker, "in its training step", most=1):
            return False
    except SkipPair:
        return True


def test_a_process_that_still_runs_was_not_killed(marker):
    marker.write_text(left_by(os.getppid()))
    assert not is_skipped(marker)


def test_the_number_of_a_process_alone_does_not_say_that_it_runs(marker):
    """In a container every run has the number of the one before: this process's own, or that of another one's shell."""
    others = {
        "its own number, as in a container": left_by(os.getpid(), later=-LATER),
        "its own number and start": left_by(os.getpid()),
        "another process with that number": left_by(os.getppid(), later=-LATER),
        "before the machine was started anew": left_by(os.getppid(), boot="another"),
        "as written before it said more": f"1 {os.getppid()}",
        "a start that could not be known": f"1 {os.getppid()} 0.00 {kill_markers._boot()}",
        "a negative number": f"1 -7 1.00 {kill_markers._boot()}",
    }
    for what, content in others.items():
        marker.write_text(content)
        assert is_skipped(marker), what


def test_a_killed_process_that_nobody_waited_for_does_not_run(marker):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        marker.write_text(left_by(child.pid))
        assert not is_skipped(marker)
        marker.write_text(left_by(child.pid))
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and left a zombie
        assert is_skipped(marker)
    finally:
        child.kill()
        child.wait()


def test_a_marker_that_says_nothing_is_none(marker):
    marker.write_text("")
    with attempt(marker, "in its training step", most=1):
        pass
