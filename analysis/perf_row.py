"""A row of `make perf`: the analysis and the report of a study as large as they have to bear."""

import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from analysis.report import PAGE, Evidence, write_report
from analysis.report_speed import LargeStudy
from benchmark.perf_rows.measurement import Check, Measurement
from benchmark.perf_rows.processes import in_fresh_process

KILOBYTES = 1024  # in a megabyte, and bytes in a kilobyte


@dataclass(frozen=True)
class ReportCost:
    """What one study took.

    Attributes:
        analysed: Seconds of `correlate`, the made-up frames included.
        written: Seconds of all files of the report.
        memory: Peak memory of the process, MB.
        page: Size of the page, MB.
    """

    analysed: float
    written: float
    memory: float
    page: float


@dataclass(frozen=True)
class ReportSpeed:
    """Seconds from frames to files, over the most that they may take; memory and page within theirs.

    Attributes:
        study: The made-up study.
        seconds: The most that analysis and report may take together.
        memory_mb: The most memory, imports included.
        page_mb: The largest page.
        bound: Of the ratio.
    """

    study: LargeStudy
    seconds: float
    memory_mb: float
    page_mb: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Analyse and write in a process of its own; always on the CPU, whatever the device."""
        cost = in_fresh_process(report_cost, self.study)
        return Measurement(
            ours=cost.analysed + cost.written,
            reference=self.seconds,
            rule="at most",
            bound=self.bound,
            device="cpu",
            checks={"memory_mb": Check(cost.memory, self.memory_mb), "page_mb": Check(cost.page, self.page_mb)},
            details={"analysed_s": cost.analysed, "written_s": cost.written},
        )


def report_cost(study: LargeStudy) -> ReportCost:
    """Make the study and write its report to a temporary folder."""
    start = time.perf_counter()
    found = study()
    analysed = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        write_report(found, Evidence(suite="large"), output=Path(folder))
        written = time.perf_counter()
        page = (Path(folder) / PAGE).stat().st_size / KILOBYTES**2
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KILOBYTES
    return ReportCost(analysed - start, written - analysed, memory, page)
