"""Shared style of all figures: colours, sizes and panel layout.

The colours are the colour-blind-safe palette of Okabe and Ito; the kind of a source is also shown by its marker.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Panels: TypeAlias = "np.ndarray[tuple[int, int], np.dtype[Any]]"  # of Axes

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7F7F7F"
# length of pre-training -> marker, colour
KINDS = {"scratch": ("x", ORANGE), "short": ("^", PURPLE), "long": ("o", BLUE)}
OTHER_KIND = ("s", GREEN)
MOST_PANELS = 60  # with more panels a figure is unreadable and slow to draw
MOST_VECTORS = 1500  # points per panel; more are rasterized to limit the size of the page
SMALL, TINY = 8, 7  # points


@dataclass(frozen=True)
class Margins:
    """The margins around the panels of a grid, in inches.

    Attributes:
        left: Left margin, for the labels of the first panel of a row.
        right: Right margin.
        bottom: Margin below the last row.
        top: Margin above the first row.
        gap: Gap between panels, horizontal and vertical.
    """

    left: float = 0.7
    right: float = 0.15
    bottom: float = 0.5
    top: float = 0.6
    gap: tuple[float, float] = (0.4, 0.55)


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """Create a figure of one panel without the top and right frame lines.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    panel = figure.subplots()
    bare(panel)
    return figure, panel


def grid(down: int, across: int, *, size: tuple[float, float], margins: Margins) -> tuple[Figure, Panels]:
    """Create a figure of equal panels at fixed positions; computing a layout would take longer than drawing them.

    Args:
        down: The number of rows.
        across: The number of panels per row.
        size: Width and height of a panel in inches.
        margins: The margins around the panels.

    Returns:
        The figure, and its (down, across) panels.
    """
    width = margins.left + across * size[0] + (across - 1) * margins.gap[0] + margins.right
    height = margins.bottom + down * size[1] + (down - 1) * margins.gap[1] + margins.top
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        left=margins.left / width,
        right=1 - margins.right / width,
        bottom=margins.bottom / height,
        top=1 - margins.top / height,
        wspace=margins.gap[0] / size[0],
        hspace=margins.gap[1] / size[1],
    )
    return figure, figure.subplots(down, across, squeeze=False)


def bare(panel: Axes) -> None:
    """Hide the top and right frame lines, and make the tick labels small."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=TINY)
