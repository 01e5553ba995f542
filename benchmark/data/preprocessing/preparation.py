"""Prepare a stored volume for a network: intensities and spacing, by the plan of the target or of the source."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module

import numpy as np
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform
from numpy.typing import NDArray

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation
from benchmark.errors import InputError

FOLLOW = ("source", "target")
Settings = tuple[tuple[str, object], ...]
FUNCTIONS = {
    "no_resampling_hack": "no_resampling",
    "resample_data_or_seg_to_shape": "default_resampling",
    "resample_torch_fornnunet": "resample_torch",
}
CUBIC: Settings = (("force_separate_z", None), ("is_seg", False), ("order", 3), ("order_z", 0))
NEAREST: Settings = (("force_separate_z", None), ("is_seg", True), ("order", 1), ("order_z", 0))
OUTSIDE = -1  # nnU-Net's label of voxels outside the nonzero region


@dataclass(frozen=True)
class Volume:
    """A labelled volume in nnU-Net's axis order: slices, rows, columns; a 2D image has one slice.

    Attributes:
        image: (c, Z, Y, X) float32.
        labels: (Z, Y, X) int16, as stored.
        spacing: (3,) mm, in the array's axis order.
        directions: Letters of the directions in which X, Y and Z increase, such as "LPS"; empty if unknown.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int16]
    spacing: tuple[float, ...]
    directions: str = ""


@dataclass(frozen=True)
class Resampling:
    """Resampling of images and labels; the defaults are those of nnU-Net's planner.

    Attributes:
        image: Name of nnU-Net's function for images.
        image_settings: Its arguments.
        labels: Name of nnU-Net's function for labels.
        labels_settings: Its arguments.
    """

    image: str = "resample_data_or_seg_to_shape"
    image_settings: Settings = CUBIC
    labels: str = "resample_data_or_seg_to_shape"
    labels_settings: Settings = NEAREST

    def __post_init__(self) -> None:
        for name in (self.image, self.labels):
            if name not in FUNCTIONS:
                raise InputError(f"plans: resampling_fn must be one of {', '.join(FUNCTIONS)}, got {name}")

    def new_shape(
        self, shape: tuple[int, ...], old: tuple[float, ...], new: tuple[float, ...]
    ) -> NDArray[np.signedinteger]:
        """The (3,) shape that a volume of (3,) voxels has after resampling; spacings as in `__call__`.

        Raises:
            InputError: An axis would have no voxel left.
        """
        from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

        resampled = np.asarray(compute_new_shape(shape, old, new))
        if (resampled < 1).any():
            raise InputError(f"spacing must leave a voxel along each axis of {shape}, got {old} to {new} mm")
        return resampled

    def __call__(
        self, image: NDArray[np.float32], labels: NDArray[np.int16], old: tuple[float, ...], new: tuple[float, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Resample an image (c, D, H, W) and its labels (D, H, W) from the `old` spacing, (3,) mm, to the `new`."""
        shape = self.new_shape(image.shape[1:], old, new)
        moved = _resampler(self.image, self.image_settings)(image, shape, old, new)
        classes = _resampler(self.labels, self.labels_settings)(labels[None], shape, old, new)
        return np.asarray(moved, dtype=np.float32), np.asarray(classes[0], dtype=np.int16)


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
        orientation: Directions in which X, Y and Z increase after volumes are flipped and their axes are swapped, such
            as "RAS"; None: as stored. Slices, and volumes whose directions are unknown, stay as stored.
        unknown: Parts of a source's preparation that are not known and follow the target's: "intensities", "spacing".
    """

    normalisation: Normalisation | ChannelSchemes = field(default_factory=Normalisation)
    spacing: tuple[float, ...] | None = None
    transpose: tuple[int, ...] | None = None
    crop: bool = False
    resampling: Resampling = field(default_factory=Resampling)
    orientation: str | None = None
    unknown: tuple[str, ...] = field(default=(), repr=False)  # not in keys: never part of what cases are prepared with

    def __post_init__(self) -> None:
        if self.spacing is not None and not all(0 < mm < math.inf for mm in self.spacing):
            raise InputError(f"spacing must be positive numbers of mm, got {list(self.spacing)}")
        if self.transpose is not None and sorted(self.transpose) != [0, 1, 2]:
            raise InputError(f"transpose must be an order of the axes 0, 1, 2, got {list(self.transpose)}")
        if self.orientation is not None and not is_orientation(self.orientation):
            raise InputError(f"orientation must be three letters such as RAS, got {self.orientation}")

    def __call__(self, volume: Volume) -> Volume:
        """Reorient a volume, transpose it to the network's axes, crop, normalise and resample it."""
        volume = _transposed(_reoriented(volume, self.orientation), self.transpose)
        image, labels = volume.image, volume.labels
        if self.crop or (isinstance(self.normalisation, ChannelSchemes) and self.normalisation.masked):
            image, labels = _marked(image, labels, crop=self.crop)
        if isinstance(self.normalisation, ChannelSchemes):
            image = self.normalisation(image.copy(), labels)
        else:
            image = self.normalisation(torch.from_numpy(image)).numpy()
        spacing = volume.spacing
        if self.spacing is not None:
            spacing = (*spacing[: 3 - len(self.spacing)], *self.spacing)
        if spacing != volume.spacing:
            image, labels = self.resampling(image, labels, volume.spacing, spacing)
        return Volume(image, np.where(labels == OUTSIDE, 0, labels).astype(np.int16), spacing)


def follow(
    source: Preparation | None, target: Preparation, *, intensities: str = "target", spacing: str = "target"
) -> Preparation:
    """The preparation of a pair: intensities by one plan; axes, crop and spacing by the same or the other plan.

    Args:
        source: The source's own preparation; None if unknown, and the target's is used, as for each unknown part.
        target: The target's own preparation.
        intensities: Whose: "source" or "target".
        spacing: Whose orientation, axes, crop and spacing: "source" or "target".
    """
    for name, choice in (("intensities", intensities), ("spacing", spacing)):
        if choice not in FOLLOW:
            raise InputError(f"preparation.{name} must be one of {', '.join(FOLLOW)}, got {choice}")
    by_intensities, by_spacing = (
        source if choice == "source" and source and part not in source.unknown else target
        for part, choice in (("intensities", intensities), ("spacing", spacing))
    )
    orientation = source.orientation if spacing == "source" and source else target.orientation
    return replace(by_spacing, normalisation=by_intensities.normalisation, orientation=orientation, unknown=())


def in_network_axes(
    spacing: Sequence[float], *, dims: int = 3, transpose: Sequence[int] | None = None
) -> tuple[tuple[float, ...], tuple[int, ...] | None]:
    """A spacing along the stored axes X, Y, Z in the order of a network's axes, and these axes.

    Args:
        spacing: (3,) mm along X, Y, Z; (2,) mm along X, Y for slices.
        dims: 3, or 2 for a network that sees slices.
        transpose: Axes of (Z, Y, X) in the network's order; None: as `Preparation` has them by default.

    Returns:
        `spacing` and `transpose` of a `Preparation`.

    Example:
        >>> in_network_axes((0.8, 0.8, 2.0)), in_network_axes((0.8, 0.7), dims=2)
        (((0.8, 0.8, 2.0), None), ((0.7, 0.8), (0, 1, 2)))
    """
    axes = transpose or ((0, 1, 2) if dims == 2 else None)
    if axes is None:
        return tuple(map(float, spacing)), None
    stored = (*[None] * (3 - len(spacing)), *map(float, reversed(spacing)))
    return tuple(mm for axis in axes if (mm := stored[axis]) is not None), tuple(axes)


def is_orientation(letters: object) -> bool:
    """Whether letters name one direction along each axis of the body, in any order.

    Example:
        >>> is_orientation("RAS"), is_orientation("PIR"), is_orientation("RLS"), is_orientation("axial")
        (True, True, False, False)
    """
    pairs = ("LR", "AP", "IS")
    return (
        isinstance(letters, str)
        and len(letters) == len(pairs)
        and all(sum(letter in pair for letter in letters) == 1 for pair in pairs)
    )


def stored_axes(directions: str, orientation: str | None) -> tuple[int, ...]:
    """The stored axis, 0 to 2 for X, Y, Z, that becomes each axis X, Y, Z of an orientation.

    Args:
        directions: Those of the stored axes; empty if unknown.
        orientation: The orientation; None: as stored.

    Example:
        >>> stored_axes("LPS", "RAS"), stored_axes("PIR", "RAS"), stored_axes("", "RAS")
        ((0, 1, 2), (2, 0, 1), (0, 1, 2))
    """
    if orientation is None or not directions:
        return (0, 1, 2)
    turned = _turn(directions, orientation)[:, 0]
    return tuple(int(np.flatnonzero(turned == axis)[0]) for axis in range(3))


def settings(arguments: Mapping[str, object]) -> Settings:
    """Arguments from plans.json as hashable data."""
    return tuple(sorted(arguments.items()))


def _turn(directions: str, orientation: str) -> NDArray[np.float64]:
    """(3, 2): for each stored axis its axis in the orientation, and -1 if it is flipped, else 1."""
    before, after = (axcodes2ornt(tuple(letters)) for letters in (directions, orientation))
    return np.asarray(ornt_transform(before, after))


def _reoriented(volume: Volume, orientation: str | None) -> Volume:
    if orientation is None or not volume.directions or volume.labels.shape[0] == 1:
        return volume
    turn = _turn(volume.directions, orientation)
    image = apply_orientation(volume.image.transpose(3, 2, 1, 0), turn).transpose(3, 2, 1, 0)
    labels = apply_orientation(volume.labels.T, turn).T
    along = volume.spacing[::-1]
    spacing = tuple(along[axis] for axis in stored_axes(volume.directions, orientation))[::-1]
    return Volume(image, labels, spacing, orientation)


def _transposed(volume: Volume, axes: tuple[int, ...] | None) -> Volume:
    if axes is None:
        axes = (0, 1, 2) if volume.labels.shape[0] == 1 else (2, 1, 0)
    image = np.ascontiguousarray(volume.image.transpose(0, *(axis + 1 for axis in axes)))
    labels = np.ascontiguousarray(volume.labels.transpose(axes))
    return Volume(image, labels, tuple(volume.spacing[axis] for axis in axes))


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


def _resampler(name: str, arguments: Settings) -> Callable[..., NDArray[np.generic]]:
    module = import_module(f"nnunetv2.preprocessing.resampling.{FUNCTIONS[name]}")
    return partial(getattr(module, name), **dict(arguments))
