"""What all figures share: colours, sizes, a bare panel.

Colours are those of Okabe and Ito, which colour-blind readers tell apart; the kind of a source is also in its marker.
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
MOST_PANELS = 60  # beyond it a figure of panels is unreadable and slow to draw
MOST_VECTORS = 1500  # points of a panel; above it they are drawn as pixels, or the page grows without end
SMALL, TINY = 8, 7  # points


@dataclass(frozen=True)
class Margins:
    """The room around the panels of a grid, inches.

    Attributes:
        left: For the labels of the first panel of a row.
        right: Room at the right.
        bottom: Below the last row.
        top: Above the first row.
        gap: Between panels, across and down.
    """

    left: float = 0.7
    right: float = 0.15
    bottom: float = 0.5
    top: float = 0.6
    gap: tuple[float, float] = (0.4, 0.55)


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one panel without frame lines above and to the right.

    Args:
        width: Inches.
        height: Inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    panel = figure.subplots()
    bare(panel)
    return figure, panel


def grid(down: int, across: int, *, size: tuple[float, float], margins: Margins) -> tuple[Figure, Panels]:
    """A figure of many equal panels at fixed places; computing a layout would take longer than drawing them.

    Args:
        down: Rows of panels.
        across: Panels in a row.
        size: Width and height of a panel, inches.
        margins: The room around the panels.

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
    """Take the frame lines above and to the right away, and make the ticks small."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=TINY)
