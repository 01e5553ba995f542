"""The report: one page that opens from disk, the figures as PDF, the tables as CSV and LaTeX.

`gather` reads from the store what the page shows beside the study, `drawings` makes the figures, `page` the HTML,
`write_report` the files.
"""

from analysis.report.evidence import ReportEvidence, gather
from analysis.report.files import PAGE, restore_report, write_report
from analysis.report.gallery import Drawing, drawings
from analysis.report.html import page, template_digest

__all__ = [
    "PAGE",
    "Drawing",
    "ReportEvidence",
    "drawings",
    "gather",
    "page",
    "restore_report",
    "template_digest",
    "write_report",
]
