"""Time the report of a large study, for `make perf`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from analysis.report.evidence import ReportEvidence
from analysis.report.files import PAGE, write_report
from analysis.report.large_study import LargeStudy

MEGABYTE = 1024**2


@dataclass(frozen=True)
class LargeReport:
    """Analysis and report of a synthetic study, from the frames to the files.

    Attributes:
        study: The study.
        page_megabytes: The maximum size of the page.
    """

    study: LargeStudy
    page_megabytes: float

    def __call__(self) -> None:
        """Analyse the study and write its report to a temporary folder.

        Raises:
            ValueError: The page is too large.
        """
        found = self.study()
        with tempfile.TemporaryDirectory() as folder:
            write_report(found, ReportEvidence(suite="large"), output=Path(folder))
            size = (Path(folder) / PAGE).stat().st_size / MEGABYTE
        if size > self.page_megabytes:
            raise ValueError(f"the page has {size:.1f} MB, more than `page_megabytes` ({self.page_megabytes:g} MB)")
