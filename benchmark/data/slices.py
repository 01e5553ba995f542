"""Pictures of a case: three slices with the outlines of its labels and of a prediction."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import image as mpimg
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

LABEL_COLOUR = (0.90, 0.62, 0.0)  # orange and sky blue of Okabe and Ito's colour-blind safe palette
PREDICTION_COLOUR = (0.34, 0.71, 0.91)
ZOOM = 5  # pixels per voxel
DARKEST, BRIGHTEST = 1.0, 99.0  # percentiles of the intensities shown as black and white


def three_slices(image: Tensor, labels: Tensor, prediction: Tensor | None = None) -> NDArray[np.float64]:
    """Draw three slices through the middle of the labels, one along each axis, side by side.

    Args:
        image: (D, H, W) float32 intensities.
        labels: (D, H, W) uint8, outlined in orange.
        prediction: (D, H, W) uint8, outlined in blue; None: no second outline.

    Returns:
        (rows, columns, 3) colours in [0, 1].
    """
    values = image.cpu().numpy().astype(np.float64)
    low, high = np.percentile(values, (DARKEST, BRIGHTEST))
    grey = np.clip((values - low) / max(high - low, 1e-6), 0.0, 1.0)
    where = np.argwhere(labels.numpy() > 0)
    middle = where[len(where) // 2] if len(where) else np.array(labels.shape) // 2
    panels = []
    for axis in range(3):
        panel = np.repeat(_slice(grey, axis, middle)[..., None], 3, axis=2)
        for volume, colour in ((labels, LABEL_COLOUR), (prediction, PREDICTION_COLOUR)):
            if volume is not None:
                plane = _slice(volume.numpy(), axis, middle)
                panel[ndimage.grey_dilation(plane, size=3) != plane] = colour
        panels.append(panel)
    rows = max(panel.shape[0] for panel in panels)
    return np.concatenate([np.pad(p, ((0, rows - p.shape[0]), (0, ZOOM), (0, 0))) for p in panels], axis=1)


def png(picture: NDArray[np.float64]) -> bytes:
    """Encode (rows, columns, 3) colours as PNG."""
    content = BytesIO()
    mpimg.imsave(content, picture, format="png")
    return content.getvalue()


def write_picture(picture: NDArray[np.float64], path: Path) -> None:
    """Write (rows, columns, 3) colours as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mpimg.imsave(path, picture)


def _slice(volume: NDArray[np.generic], axis: int, middle: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.kron(np.take(volume, int(middle[axis]), axis=axis).T, np.ones((ZOOM, ZOOM)))
