"""Resampling by nnU-Net's own functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import InputError

Settings = tuple[tuple[str, Any], ...]
FUNCTIONS = {
    "no_resampling_hack": "no_resampling",
    "resample_data_or_seg_to_shape": "default_resampling",
    "resample_torch_fornnunet": "resample_torch",
}
CUBIC: Settings = (("force_separate_z", None), ("is_seg", False), ("order", 3), ("order_z", 0))
NEAREST: Settings = (("force_separate_z", None), ("is_seg", True), ("order", 1), ("order_z", 0))


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

    def __call__(
        self, image: NDArray[np.float32], labels: NDArray[np.int16], old: tuple[float, ...], new: tuple[float, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
        """Resample an image and its labels.

        Args:
            image: (c, D, H, W) float32.
            labels: (D, H, W) int16.
            old: (3,) mm, the present spacing.
            new: (3,) mm, the new spacing.
        """
        from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape

        shape = compute_new_shape(image.shape[1:], old, new)
        if (shape < 1).any():
            raise InputError(f"spacing must leave a voxel along each axis of {image.shape[1:]}, got {old} to {new} mm")
        moved = _function(self.image, self.image_settings)(image, shape, old, new)
        classes = _function(self.labels, self.labels_settings)(labels[None], shape, old, new)
        return np.asarray(moved, dtype=np.float32), np.asarray(classes[0], dtype=np.int16)


def settings(arguments: Mapping[str, Any]) -> Settings:
    """Arguments from plans.json as hashable data."""
    return tuple(sorted(arguments.items()))


def _function(name: str, arguments: Settings) -> Callable[..., Any]:
    from functools import partial
    from importlib import import_module

    module = import_module(f"nnunetv2.preprocessing.resampling.{FUNCTIONS[name]}")
    return partial(getattr(module, name), **dict(arguments))
