"""Write figures as data URIs and as PDF."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

SALT = "figure"  # fixed, so that the same study gives the same bytes
PIXELS = 110  # per inch


def settle(figure: Figure) -> None:
    """Compute the layout once, so that it is not computed again for every file.

    Args:
        figure: The figure; later changes do not update its layout.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def svg_address(figure: Figure) -> str:
    """Encode a figure as SVG in a data URI; text is drawn as paths, so it looks the same everywhere.

    Args:
        figure: The figure.
    """
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": SALT, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", dpi=PIXELS, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"


def write_pdf(figures: Iterable[Figure], path: Path) -> None:
    """Write figures to a PDF, one per page.

    Args:
        figures: The figures, in order.
        path: The file.
    """
    with PdfPages(path, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure, dpi=PIXELS)
