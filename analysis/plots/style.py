"""Shared style of all figures: colours, sizes and panel layout.

The colours are the colour-blind-safe palette of Okabe and Ito; the kind of a source is also shown by its marker.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Panels: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[Any]]"  # of Axes

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F"
SKY = "#56B4E9"
# length of pre-training -> marker, colour
KINDS = {"scratch": ("x", ORANGE), "short": ("^", PURPLE), "medium": ("D", SKY), "long": ("o", BLUE)}
OTHER_KIND = ("s", GREEN)
MOST_PANELS = 80  # with more panels a figure is unreadable and slow to draw
MOST_VECTORS = 1500  # points per panel; more are rasterized to limit the size of the page
SMALL, TINY = 8, 7  # points
PIXELS = 110  # per inch
TOP = 0.6  # inches above the panels of a grid


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """Create a figure of one panel, width and height in inches, without the top and right frame lines."""
    figure = Figure(figsize=(width, height), layout="constrained")
    panel = figure.subplots()
    bare(panel)
    return figure, panel


def grid(
    down: int,
    across: int,
    *,
    size: tuple[float, float],
    left: float = 0.7,
    right: float = 0.15,
    bottom: float = 0.5,
    gap: tuple[float, float] = (0.4, 0.55),
) -> tuple[Figure, Panels]:
    """Create a figure of (down, across) equal panels at fixed positions; a layout would take longer than the drawing.

    Args:
        down: The number of rows.
        across: The number of panels per row.
        size: Width and height of a panel in inches.
        left: Left margin in inches, for the labels of the first panel of a row.
        right: Right margin in inches.
        bottom: Margin below the last row in inches.
        gap: Gap between panels in inches, horizontal and vertical.
    """
    width = left + across * size[0] + (across - 1) * gap[0] + right
    height = bottom + down * size[1] + (down - 1) * gap[1] + TOP
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        bottom=bottom / height,
        top=1 - TOP / height,
        wspace=gap[0] / size[0],
        hspace=gap[1] / size[1],
    )
    return figure, figure.subplots(down, across, squeeze=False)


def bare(panel: Axes) -> None:
    """Hide the top and right frame lines, and make the tick labels small."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=TINY)


def names_at_the_side(panel: Axes, names: Sequence[str], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Write names to the right of a panel, evenly spaced in order of height, each joined to its point by a line.

    Args:
        panel: The panel.
        names: n names.
        x: (n,) float64, the places of the points, in the data's coordinates.
        y: (n,) float64.
    """
    order = np.argsort(-y, kind="stable")
    places = np.linspace(0.98, 0.02, len(order)) if len(order) > 1 else [0.5]
    for place, point in zip(places, order, strict=True):
        panel.annotate(
            names[point],
            (x[point], y[point]),
            xytext=(1.04, place),
            textcoords="axes fraction",
            fontsize=TINY,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkB": 3},
        )


def data_uri(content: bytes, kind: str) -> str:
    """A picture as a data URI; `kind` is its format, such as "png"."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
