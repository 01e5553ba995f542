"""Positions of a case's voxels by class, from which the centres of training patches are drawn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST, MOST, SHARE = 10_000, 100_000, 0.01  # positions of a class: nnU-Net's 10,000 or 1%, but not more than 100,000


@dataclass(frozen=True)
class ClassPositions:
    """Where the classes of a label volume lie.

    Attributes:
        counts: Class -> number of its voxels; classes without a voxel are left out.
        voxels: Class -> sorted flat indices (C order) of its voxels, all of them or a random sample.
    """

    counts: Mapping[int, int]
    voxels: Mapping[int, NDArray[np.int64]]


def class_positions(labels: NDArray[np.uint8]) -> ClassPositions:
    """The positions of every class in a label volume (D, H, W), a function of the volume alone.

    Example:
        >>> class_positions(np.array([[[0, 2], [2, 2]]], dtype=np.uint8)).voxels[2]
        array([1, 2, 3])
    """
    order = np.argsort(labels, axis=None, kind="stable")  # a radix sort of bytes
    counts = np.bincount(labels.ravel())
    ends = np.cumsum(counts)
    random = np.random.default_rng(0)
    voxels = {}
    for label in np.flatnonzero(counts).tolist():
        every, count = order[ends[label] - counts[label] : ends[label]], int(counts[label])
        kept = min(count, max(LEAST, min(MOST, int(count * SHARE))))
        if kept < count:
            every = every[np.sort(random.choice(count, kept, replace=False, shuffle=False))]
        voxels[label] = every.astype(np.int64)
    return ClassPositions({label: int(counts[label]) for label in voxels}, voxels)
