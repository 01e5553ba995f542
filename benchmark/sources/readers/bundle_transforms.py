"""The preparation that a MONAI bundle's own deterministic transforms describe, as far as they are plain values.

Each transform is one of four kinds: it scales intensities, it resamples, it changes which voxels are seen, or it does
neither (loading, data types). One that is unknown may change intensities, so that these are then not taken.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.preparation import NEAREST, Preparation, Resampling, in_network_axes, is_orientation
from benchmark.errors import is_number
from benchmark.sources.readers.bundle_config import at, read_config, resolved

# where bundles list the transforms of images that are segmented, then of those that are trained with
PLACES = ("preprocessing", "validate::preprocessing", "validate::transforms", "val_transforms",
          "deterministic_transforms", "train::deterministic_transforms", "train::preprocessing", "train_transforms",
          "transforms")  # fmt: skip
NEUTRAL = {
    "LoadImage", "EnsureChannelFirst", "AddChannel", "AsChannelFirst", "EnsureType", "ToTensor", "CastToType",
    "ToDevice", "SelectItems", "DeleteItems", "CopyItems", "Identity", "SqueezeDim",
}  # fmt: skip
SEEN = {
    "CropForeground", "SpatialPad", "DivisiblePad", "BorderPad", "SpatialCrop", "CenterSpatialCrop",
    "ResizeWithPadOrCrop", "Flip", "Rotate90", "Transpose",
}  # fmt: skip
SCALING = ("ScaleIntensityRange", "NormalizeIntensity", "ScaleIntensity")
ORIENTATION = "Orientation"
RESIZING = {"Spacing", "Resize", "Zoom", "SpatialResample", "ResampleToMatch"}  # Spacing is read, the others are not
ORDERS = {"nearest": 0, "bilinear": 1, 0: 0, 1: 1, 3: 3}  # Spacing's modes as orders of nnU-Net's resampling
LIMIT = float(np.finfo(np.float32).max)  # bounds that clip nothing
IMAGE = "image"
Arguments = Mapping[str, Any]
Intensities = Normalisation | ChannelSchemes


@dataclass(frozen=True)
class BundlePreparation:
    """What the transforms of a bundle say about its input.

    Attributes:
        preparation: The source's preparation, whose unknown parts are marked; None: nothing could be taken.
        notes: What was taken and what was not, one line each.
    """

    preparation: Preparation | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Transform:
    """A transform of the image.

    Attributes:
        name: Its name without the suffix of transforms for dictionaries.
        settings: Its arguments.
        title: Its name in the config, with the axes of an orientation.
        place: The image's place among its keys.
    """

    name: str
    settings: Mapping[str, Any]
    title: str
    place: int = 0


def bundle_preparation(configs: Sequence[Path], *, channels: int, dims: int) -> BundlePreparation:
    """Read the preparation from the first config that lists transforms as plain values.

    Args:
        configs: The bundle's configs, in the order in which they are tried.
        channels: Input channels of the network.
        dims: 3 or 2.
    """
    for config in configs:
        content = read_config(config)
        listed = next((items for place in PLACES if (items := _listed(content, place))), None)
        if listed is not None:
            return _described(_of_image(listed), config.name, channels=channels, dims=dims)
    return BundlePreparation(None, ("not taken: its transforms, since no config lists them as plain values",))


def _listed(content: Mapping[str, Any], place: str) -> list[Any] | None:
    value = resolved(at(content, place), content)
    inner = value.get("transforms") if isinstance(value, dict) else value
    return inner if isinstance(inner, list) and inner else None


def _of_image(items: Sequence[Any]) -> list[Transform]:
    """The transforms of the image; those of the labels are left out, one that is no plain value has no arguments."""
    image, transforms = None, []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("_target_"), str):
            transforms.append(Transform("", {}, "an expression"))
            continue
        keys = item.get("keys", IMAGE)
        keys = [keys] if isinstance(keys, str) else keys
        image = image or (keys[0] if isinstance(keys, list) and keys else IMAGE)
        if item.get("_disabled_") is not True and (not isinstance(keys, list) or image in keys):
            name = item["_target_"].rpartition(".")[2]
            title = f"{name} {axes}" if isinstance(axes := item.get("axcodes"), str) else name
            transforms.append(Transform(_bare(name), item, title, keys.index(image) if isinstance(keys, list) else 0))
    return transforms


def _bare(name: str) -> str:
    """A transform's name without the suffix of its form for dictionaries."""
    ends = ("", "Dict", "D", "d")
    known = NEUTRAL | SEEN | RESIZING | {*SCALING, ORIENTATION}
    return next((bare for end in ends if name.endswith(end) and (bare := name.removesuffix(end)) in known), name)


def _described(transforms: Sequence[Transform], config: str, *, channels: int, dims: int) -> BundlePreparation:
    other = [item for item in transforms if item.name not in NEUTRAL | SEEN | RESIZING | {ORIENTATION}]
    intensities = _intensities(other, channels)
    resampling = [item for item in transforms if item.name in RESIZING]
    spacing = _spacing(resampling, dims)
    turning = [item for item in transforms if item.name == ORIENTATION]
    orientation = _orientation(transforms)
    taken = [*(other if intensities else []), *(resampling if spacing else []), *(turning if orientation else [])]
    left = [item for item in transforms if item.name not in NEUTRAL and item not in taken]
    notes = []
    if taken:
        notes.append(f"prepared as {config} says: {', '.join(item.title for item in taken)}")
    if left:
        notes.append(f"not taken of the transforms in {config}: {', '.join(item.title for item in left)}")
    unknown = tuple(name for name, part in (("intensities", intensities), ("spacing", spacing)) if part is None)
    preparation = replace(spacing or Preparation(), unknown=unknown, orientation=orientation)
    if intensities is not None:
        preparation = replace(preparation, normalisation=intensities)
    return BundlePreparation(preparation if len(unknown) < 2 or orientation else None, tuple(notes))


def _orientation(transforms: Sequence[Transform]) -> str | None:
    """The orientation of volumes; None if there is none, or it cannot be expressed.

    It precedes the spacing, which is along the axes of a reoriented volume here, or the spacing is alike along each.
    """
    named = [item for item in transforms if item.name in {ORIENTATION, "Spacing"}]
    turning = [item for item in named if item.name == ORIENTATION]
    if len(turning) != 1 or turning[0].settings.get("labels"):
        return None
    settings = turning[0].settings
    letters = "RAS" if settings.get("as_closest_canonical") is True else settings.get("axcodes")
    letters = "".join(map(str, letters)) if isinstance(letters, list) else letters
    pixdim = named[0].settings.get("pixdim") if named[0] is not turning[0] else None
    is_alike = not isinstance(pixdim, list) or len(set(map(str, pixdim))) == 1
    return letters if isinstance(letters, str) and is_orientation(letters) and is_alike else None


def _spacing(transforms: Sequence[Transform], dims: int) -> Preparation | None:
    """A preparation with the spacing and the resampling of the image only; None if they cannot be expressed."""
    if not transforms:
        return Preparation()
    if len(transforms) > 1 or transforms[0].name != "Spacing":
        return None
    pixdim = transforms[0].settings.get("pixdim")
    sides = [pixdim] if is_number(pixdim) else pixdim
    if not isinstance(sides, list) or not sides or not all(is_number(side) and side > 0 for side in sides):
        return None
    sides = (sides + [sides[-1]] * dims)[:dims]  # as MONAI completes a shorter list
    mode = transforms[0].settings.get("mode", "bilinear")
    mode = mode[min(transforms[0].place, len(mode) - 1)] if isinstance(mode, list) and mode else mode
    if not isinstance(mode, str | int) or mode not in ORDERS:
        return None
    order = (("force_separate_z", False), ("is_seg", False), ("order", ORDERS[mode]), ("order_z", 0))
    spacing, transpose = in_network_axes(sides, dims=dims)
    return Preparation(
        spacing=spacing, transpose=transpose, resampling=Resampling(image_settings=order, labels_settings=NEAREST)
    )


def _intensities(transforms: Sequence[Transform], channels: int) -> Intensities | None:
    """How intensities are normalised; None if the transforms cannot be expressed."""
    if not transforms:
        return ChannelSchemes((Scheme("NoNormalization"),))
    if len(transforms) > 1 or transforms[0].name not in SCALING:
        return None
    settings = transforms[0].settings
    read = {"ScaleIntensityRange": _ranged, "NormalizeIntensity": _normalised, "ScaleIntensity": _scaled}
    return read[transforms[0].name](settings, channels)


def _ranged(settings: Arguments, channels: int) -> Intensities | None:
    """A range of intensities that is mapped to another one: (x - mean) / std with bounds, as nnU-Net's CT scheme."""
    low, high, start, end = (settings.get(name) for name in ("a_min", "a_max", "b_min", "b_max"))
    start, end = (0.0, 1.0) if start is None and end is None else (start, end)
    clip = settings.get("clip", False)
    if not all(map(is_number, (low, high, start, end))) or not isinstance(clip, bool):
        return None
    low, high, start, end = (float(cast("float", value)) for value in (low, high, start, end))
    if not low < high or not start < end:
        return None
    if clip and (start, end) == (-1, 1):
        return Normalisation((low, high))
    std = (high - low) / (end - start)
    if not math.isfinite(std):
        return None
    bounds = (low, high) if clip else (-LIMIT, LIMIT)
    return ChannelSchemes((_linear(low - start * std, std, *bounds),))


def _normalised(settings: Arguments, channels: int) -> Intensities | None:
    """The z-score of each channel, or of its nonzero voxels, or fixed numbers in the place of mean and deviation."""
    nonzero, by_channel = settings.get("nonzero", False), settings.get("channel_wise", False)
    if not isinstance(nonzero, bool) or not isinstance(by_channel, bool):
        return None
    mean, std = settings.get("subtrahend"), settings.get("divisor")
    if mean is None and std is None:
        is_each = by_channel or channels == 1
        return ChannelSchemes((Scheme("ZScoreNormalization", masked=nonzero),)) if is_each else None
    means, stds = (value if isinstance(value, list) else [value] for value in (mean, std))
    if len(means) != len(stds) or nonzero or len(means) not in (1, channels) or not all(map(is_number, means + stds)):
        return None
    if min(cast("list[float]", stds)) <= 0:
        return None
    pairs = zip(cast("list[float]", means), cast("list[float]", stds), strict=True)
    return ChannelSchemes(tuple(_linear(m, s, -LIMIT, LIMIT) for m, s in pairs))


def _scaled(settings: Arguments, channels: int) -> Intensities | None:
    """The image's own minimum and maximum become 0 and 1."""
    is_each = settings.get("channel_wise", False) is True or channels == 1
    bounds = (settings.get("minv", 0.0), settings.get("maxv", 1.0), settings.get("factor"))
    return ChannelSchemes((Scheme("RescaleTo01Normalization"),)) if is_each and bounds == (0, 1, None) else None


def _linear(mean: float, std: float, low: float, high: float) -> Scheme:
    return Scheme("CTNormalization", mean=float(mean), std=float(std), low=low, high=high)
