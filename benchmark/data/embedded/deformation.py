"""Derive cases from a scan: seeded crops, deformed and with changed intensities (MONAI transforms)."""

from dataclasses import dataclass

import numpy as np
import torch
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandBiasFieldd,
    RandGaussianNoised,
)
from numpy.typing import NDArray

from benchmark.data.files.read_scan import Scan


@dataclass(frozen=True)
class Deformation:
    """Limits of the changes that turn a crop of a scan into a case.

    Attributes:
        rotate: Largest angle about each axis, radians.
        scale: Largest relative change of size.
        sigma: Smoothness of the elastic field, voxels.
        magnitude: Largest strength of the elastic field, voxels before smoothing.
        bias: Largest coefficient of the bias field.
        gamma: Contrast exponents lie in [1/gamma, gamma].
        noise: Standard deviation of the added noise, in the units of `window`'s width.
        jitter: Largest shift of the crop's centre from a foreground voxel, voxels; limited to a quarter of the crop, so
            that the voxel stays inside.
    """

    rotate: float = 0.25
    scale: float = 0.15
    sigma: tuple[float, float] = (5.0, 7.0)
    magnitude: tuple[float, float] = (50.0, 150.0)
    bias: float = 0.15
    gamma: float = 1.3
    noise: float = 0.05
    jitter: int = 8


def derive(
    scan: Scan, *, size: tuple[int, int, int], window: tuple[float, float], deformation: Deformation, seed: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Derive a case: a crop around a random foreground voxel, deformed and with changed intensities.

    Args:
        scan: The scan with labels 0 .. k-1.
        size: Voxels of the case.
        window: (low, high) in the scan's units; intensities outside are clipped first.
        deformation: Limits of the changes.
        seed: Equal seeds give equal cases.

    Returns:
        The (X, Y, Z) intensities in the scan's units and the labels.
    """
    rng = np.random.default_rng(seed)
    margin = tuple(int(np.ceil(n * 1.5)) for n in size)
    foreground = np.argwhere(scan.labels > 0)
    voxel = foreground[rng.integers(len(foreground))]
    shift = rng.integers(-deformation.jitter, deformation.jitter + 1, 3)
    limit = np.array(size) // 4
    centre = voxel + np.clip(shift, -limit, limit)
    low, high = window
    image = ((np.clip(_crop(scan.image, centre, margin), low, high) - low) / (high - low)).astype(np.float32)
    labels = _crop(scan.labels, centre, margin).astype(np.float32)
    change = _changes(size, deformation)
    change.set_random_state(int(rng.integers(2**31)))
    done = change({"image": torch.from_numpy(image)[None], "labels": torch.from_numpy(labels)[None]})
    values = done["image"][0].numpy() * (high - low) + low
    return np.round(values).astype(np.int16), done["labels"][0].numpy().round().astype(np.uint8)


def _crop(array: NDArray[np.generic], centre: NDArray[np.int64], size: tuple[int, ...]) -> NDArray[np.generic]:
    """Cut the box of `size` around `centre`; outside the volume its nearest voxel is repeated."""
    shape = np.array(array.shape)
    first = np.clip(centre, 0, shape - 1) - np.array(size) // 2
    rows = [np.clip(np.arange(at, at + n), 0, end - 1) for at, n, end in zip(first, size, shape, strict=True)]
    box: NDArray[np.generic] = array[np.ix_(*rows)]
    return box


def _changes(size: tuple[int, int, int], limits: Deformation) -> Compose:
    both = ["image", "labels"]
    return Compose(
        [
            Rand3DElasticd(
                both,
                sigma_range=limits.sigma,
                magnitude_range=limits.magnitude,
                prob=1.0,
                rotate_range=[limits.rotate] * 3,
                scale_range=[limits.scale] * 3,
                mode=["bilinear", "nearest"],
                padding_mode="border",
            ),
            CenterSpatialCropd(both, size),
            RandBiasFieldd("image", prob=1.0, degree=3, coeff_range=(0.0, limits.bias)),
            RandAdjustContrastd("image", prob=1.0, gamma=(1.0 / limits.gamma, limits.gamma)),
            RandGaussianNoised("image", prob=1.0, std=limits.noise, sample_std=False),
        ]
    )
