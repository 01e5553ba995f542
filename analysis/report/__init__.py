"""The report: one self-contained HTML page, the figures as PDF, the tables as CSV and LaTeX.

`gather` fetches what the page shows in addition to the study, `drawings` makes the figures, `page` the HTML, and
`write_report` writes the files.
"""

from analysis.report.evidence import ReportEvidence, gather
from analysis.report.files import PAGE, page, restore_report, template_digest, write_report
from analysis.report.gallery import Drawing, drawings

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
