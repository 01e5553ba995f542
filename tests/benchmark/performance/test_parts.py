"""A part that fails, crashes or hangs is named with its reason, and what it found before is kept."""

import os
import time
from dataclasses import dataclass

import pytest

from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.parts import MeasuredRows, PartResult, Recorder, run_part


@dataclass(frozen=True)
class Row:
    """A row that takes 1 s for a reference of 2 s, or does what `act` says."""

    act: str = ""
    error: float = 0.0

    def measure(self, device):
        if self.act == "crash":
            os._exit(3)
        if self.act == "hang":
            time.sleep(600)
        if self.act == "import":
            import no_such_package.inside  # noqa: F401
        if self.act == "raise":
            raise ValueError("two\nlines")
        return Measurement(1.0, 2.0, "at least", 2.0, device, checks={"error": Check(self.error, 1e-3)})


def recorded(tmp_path, rows):
    """The results of rows measured in this process, by name."""
    lines: list[PartResult] = []

    @dataclass(frozen=True)
    class Listing(Recorder):
        def add(self, result):
            lines.append(result)

    MeasuredRows(60.0, rows).run("cpu", Listing(tmp_path / "unused"))
    return {result.name: (result.status, result.reason) for result in lines}


def test_each_row_has_its_own_outcome(tmp_path):
    rows = {"right": Row(), "wrong": Row(error=0.5), "bad": Row("raise"), "bare": Row("import"), "last": Row()}
    assert recorded(tmp_path, rows) == {
        "right": ("passed", ""),
        "wrong": ("failed", "error must be at most 1e-03, got 5.0e-01"),
        "bad": ("failed", "ValueError: two; lines"),
        "bare": ("skipped", "needs no_such_package"),
        "last": ("passed", ""),
    }


@pytest.mark.parametrize(
    ("act", "seconds", "status", "reason"),
    [("crash", 60.0, "failed", "exit code 3"), ("hang", 20.0, "not run", "time limit of 20 s")],
)
def test_a_process_that_ends_early_keeps_its_results(act, seconds, status, reason, tmp_path):
    part = MeasuredRows(60.0, {"first": Row(), "second": Row(act), "third": Row()})
    (first, second, third), took = run_part(part, "cpu", tmp_path, seconds=seconds)
    assert (first.name, first.status) == ("first", "passed")
    assert (second.name, second.status) == ("second", status)
    assert (third.name, third.status) == ("third", "not run")
    assert reason in second.reason
    assert reason in third.reason
    assert took < 60.0
