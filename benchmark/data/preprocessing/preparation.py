"""Prepare a stored volume for a network: intensities and spacing, by the plan of the target or of the source."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.preprocessing.resampling import Resampling
from benchmark.data.preprocessing.schemes import ChannelSchemes
from benchmark.errors import InputError

FOLLOW = ("source", "target")
OUTSIDE = -1  # nnU-Net's label of voxels outside the nonzero region


@dataclass(frozen=True)
class Volume:
    """A labelled volume in nnU-Net's axis order: slices, rows, columns; a 2D image has one slice.

    Attributes:
        image: (c, Z, Y, X) float32.
        labels: (Z, Y, X) int16, as stored.
        spacing: (3,) mm, in the array's axis order.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int16]
    spacing: tuple[float, ...]


@dataclass(frozen=True)
class Preparation:
    """The steps from a stored volume to a network's input, in nnU-Net's order.

    Attributes:
        normalisation: How intensities are normalised: all channels alike, or a scheme per channel.
        spacing: mm that volumes are resampled to, in the order of the transposed axes; two numbers leave the first
            axis unchanged (slice by slice); None: as stored.
        transpose: Axes of (Z, Y, X) in the network's order; None: (X, Y, Z), and (1, Y, X) for a volume of one slice.
        crop: Whether volumes are cropped to the box of their nonzero voxels.
        resampling: How volumes are resampled.
    """

    normalisation: Normalisation | ChannelSchemes = field(default_factory=Normalisation)
    spacing: tuple[float, ...] | None = None
    transpose: tuple[int, ...] | None = None
    crop: bool = False
    resampling: Resampling = field(default_factory=Resampling)

    def __call__(self, volume: Volume) -> Volume:
        """Prepare a volume: transpose, crop, normalise, resample.

        Returns:
            The volume with its axes in the network's order.
        """
        volume = _transposed(volume, self.transpose)
        image, labels = volume.image, volume.labels
        if self.crop or (isinstance(self.normalisation, ChannelSchemes) and self.normalisation.masked):
            image, labels = _marked(image, labels, crop=self.crop)
        image = self._normalised(image, labels)
        spacing = self._spacing(volume.spacing)
        if spacing != volume.spacing:
            image, labels = self.resampling(image, labels, volume.spacing, spacing)
        return Volume(image, np.where(labels == OUTSIDE, 0, labels).astype(np.int16), spacing)

    def _normalised(self, image: NDArray[np.float32], labels: NDArray[np.int16]) -> NDArray[np.float32]:
        if isinstance(self.normalisation, ChannelSchemes):
            return self.normalisation(image.copy(), labels)
        return self.normalisation(torch.from_numpy(image)).numpy()

    def _spacing(self, stored: tuple[float, ...]) -> tuple[float, ...]:
        if self.spacing is None:
            return stored
        return (*stored[: 3 - len(self.spacing)], *self.spacing)


def follow(
    source: Preparation | None, target: Preparation, *, intensities: str = "target", spacing: str = "target"
) -> Preparation:
    """The preparation of a pair: intensities by one plan; axes, crop and spacing by the same or the other plan.

    Args:
        source: The source's own preparation; None if unknown, and the target's is used.
        target: The target's own preparation.
        intensities: "source" or "target".
        spacing: "source" or "target".

    Raises:
        InputError: A choice is neither of these.
    """
    for name, choice in (("intensities", intensities), ("spacing", spacing)):
        _check(name, choice, FOLLOW)
    known = source or target
    return replace(
        known if spacing == "source" else target,
        normalisation=(known if intensities == "source" else target).normalisation,
    )


def _transposed(volume: Volume, axes: tuple[int, ...] | None) -> Volume:
    if axes is None:
        axes = (0, 1, 2) if volume.labels.shape[0] == 1 else (2, 1, 0)
    image = np.ascontiguousarray(volume.image.transpose(0, *(axis + 1 for axis in axes)))
    return Volume(
        image, np.ascontiguousarray(volume.labels.transpose(axes)), tuple(volume.spacing[axis] for axis in axes)
    )


def _marked(
    image: NDArray[np.float32], labels: NDArray[np.int16], *, crop: bool
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Crop the image if `crop`, and mark background outside the nonzero region as OUTSIDE in the labels."""
    from nnunetv2.preprocessing.cropping.cropping import create_nonzero_mask, crop_to_nonzero

    if not image.any():  # an empty image has no box, and nnU-Net's function fails on it
        return image, labels
    if crop:
        image, marked, _ = crop_to_nonzero(image, labels[None], nonzero_label=OUTSIDE)
        return np.ascontiguousarray(image), np.ascontiguousarray(marked[0])
    return image, np.where((labels == 0) & ~create_nonzero_mask(image), OUTSIDE, labels).astype(np.int16)


def _check(name: str, choice: str, choices: Sequence[str]) -> None:
    if choice not in choices:
        raise InputError(f"preparation.{name} must be one of {', '.join(choices)}, got {choice}")
