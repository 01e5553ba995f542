"""A figure as a data URI for a page, as PNG, or as a page of a PDF."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

# The same study gives the same bytes.
SALT = "figure"
PIXELS = 110  # an inch


def settle(figure: Figure) -> None:
    """Compute the layout once, so that each file that the figure is written to does not compute it again.

    Args:
        figure: The figure; later changes of it move nothing.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def svg_address(figure: Figure) -> str:
    """The figure as SVG in a data URI; letters are paths, so that every reader sees the same.

    Args:
        figure: The figure.
    """
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": SALT, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", dpi=PIXELS, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(stream.getvalue()).decode()}"


def write_pdf(figures: Iterable[Figure], path: Path) -> None:
    """Write figures to a PDF, a page each.

    Args:
        figures: In order.
        path: The file.
    """
    with PdfPages(path, metadata={"CreationDate": None}) as pages:
        for figure in figures:
            pages.savefig(figure, dpi=PIXELS)
