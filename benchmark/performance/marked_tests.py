"""Part of a check: the project's own tests that need a CUDA device."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.jobs.cli import CONF
from benchmark.performance.parts import PartResult, Recorder, failures_recorded

if TYPE_CHECKING:
    import pytest

TESTS = CONF.parent / "tests"
# The settings in pyproject.toml need plugins that may be absent.
OPTIONS = ("-o", "addopts=", "--strict-markers", "--import-mode=importlib", "-p", "no:cacheprovider", "-ra")


@dataclass(frozen=True)
class MarkedTests:
    """The tests with a marker, each of which is a result; their output is in the part's log.

    Attributes:
        seconds: Time limit.
        marker: The marker.
    """

    seconds: float
    marker: str

    def run(self, device: str, recorder: Recorder) -> None:
        """Run the tests in this process; they choose the device themselves."""
        if not TESTS.is_dir():
            recorder.plan(["tests"])
            recorder.add(PartResult("tests", "skipped", "needs the source tree with tests/"))
            return
        with failures_recorded("pytest", recorder):
            self._run(recorder)

    def _run(self, recorder: Recorder) -> None:
        import pytest

        os.chdir(TESTS.parent)
        code = pytest.main([*OPTIONS, "-m", self.marker, str(TESTS)], plugins=[_Listener(recorder)])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            recorder.add(PartResult("pytest", "failed", f"pytest ended with {pytest.ExitCode(code).name}"))


@dataclass(frozen=True)
class _Listener:
    """Plugin of pytest that records the outcome of each test.

    Attributes:
        recorder: Where it records.
    """

    recorder: Recorder

    def pytest_collection_finish(self, session: "pytest.Session") -> None:
        self.recorder.plan(item.nodeid for item in session.items)

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        if report.failed:
            self.recorder.add(PartResult(report.nodeid, "failed", f"cannot be collected: {_last_line(report)}"))

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        figures = {"seconds": round(report.duration, 3)}
        if report.skipped and isinstance(report.longrepr, tuple):
            self.recorder.add(PartResult(report.nodeid, "skipped", report.longrepr[2].removeprefix("Skipped: ")))
        elif report.failed:
            self.recorder.add(PartResult(report.nodeid, "failed", f"{report.when}: {_last_line(report)}", figures))
        elif report.when == "call":
            self.recorder.add(PartResult(report.nodeid, "passed", "", figures))


def _last_line(report: "pytest.CollectReport | pytest.TestReport") -> str:
    """The error of a report, from the line that pytest marks with E."""
    errors = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return (errors or report.longreprtext.splitlines() or ["no message"])[-1 if not errors else 0]
