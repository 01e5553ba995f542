"""Whether an image and its labels are stored on one grid."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from nibabel.orientations import aff2axcodes
from numpy.typing import NDArray

from benchmark.errors import InputError

MOST_OFFSET = 0.1  # voxels; programs that rewrite a header round it
LEAST_OFFSET = 0.01  # voxels; less is the rounding of float32 and not worth a note
DECIMALS = 3  # of voxels, so that the last bits of a header do not decide


@dataclass(frozen=True)
class VoxelGrid:
    """Where a file stores its voxels.

    Attributes:
        shape: (X, Y, Z) voxels.
        affine: (4, 4) voxel (x, y, z) to mm, right-anterior-superior; None if the format has none.
    """

    shape: tuple[int, ...]
    affine: NDArray[np.float64] | None


def directions_of(affine: NDArray[np.float64] | None) -> str:
    """Letters of the directions in which X, Y and Z increase, the nearest ones; empty without an affine.

    Example:
        >>> directions_of(np.diag([-1.0, 1.0, 2.0, 1.0])), directions_of(None)
        ('LAS', '')
    """
    return "" if affine is None else "".join(map(str, aff2axcodes(affine)))


def check_layers(path: Path, count: int, shape: tuple[int, ...]) -> None:
    """Check that a label file has one value per voxel.

    Args:
        path: The file.
        count: Its number of values per voxel.
        shape: Its shape as stored, x first.

    Raises:
        InputError: It has colours or several layers.
    """
    if count > 1 and len(shape) <= 3:
        raise InputError(f"cannot use {path} as labels: it has {count} values per voxel (such as colours), expected 1 "
                         "(the class)")  # fmt: skip
    if count > 1:
        raise InputError(
            f"cannot use {path} as labels: it has {count} layers (shape {shape}), expected 1 with the class of "
            "each voxel; merge them into one, with a value of its own for each overlap"
        )


def header_offset(path: Path, labels: VoxelGrid, image: VoxelGrid) -> float:
    """How far apart the headers of a label file and its image place the volume.

    Args:
        path: The label file.
        labels: Its grid.
        image: The image's grid.

    Returns:
        The largest distance of a corner of the volume, along an axis of the image, in the image's voxels; 0 if it is
        within the rounding of headers, or if a format has no coordinates.

    Raises:
        InputError: The shapes differ, or a corner is more than MOST_OFFSET voxels away.
    """
    if image.shape != labels.shape:
        raise InputError(f"cannot use {path}: its shape {labels.shape} differs from its image's {image.shape}")
    if image.affine is None or labels.affine is None:
        return 0.0
    corners = np.array([[*corner, 1.0] for corner in product(*((-0.5, side - 0.5) for side in labels.shape))]).T
    placed = np.linalg.solve(image.affine, labels.affine @ corners)
    offset = round(float(np.abs(placed - corners).max()), DECIMALS)
    if not offset <= MOST_OFFSET:
        raise InputError(
            f"cannot use {path}: its affine differs from its image's by {offset:.4g} voxels at a corner of the volume "
            f"(at most {MOST_OFFSET:g}): {_rows(labels.affine)}, image {_rows(image.affine)}"
        )
    return offset if offset >= LEAST_OFFSET else 0.0


def _rows(affine: NDArray[np.float64]) -> str:
    return "[" + "; ".join(" ".join(f"{value + 0.0:.6g}" for value in row) for row in affine[:3]) + "]"
