"""Normalisation of intensities."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.errors import InputError

SMALLEST_SPREAD = 1e-6  # in the image's unit; a constant volume becomes 0 instead of a division by 0


@dataclass(frozen=True)
class Normalisation:
    """Scale a window of intensities to [-1, 1], or each volume to mean 0 and deviation 1.

    Attributes:
        window: (low, high) in the image's units (CT: Hounsfield); values outside are clipped. None: each channel's own
            mean and standard deviation (MR, whose units are arbitrary).
    """

    window: tuple[float, float] | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Normalise an image of shape (c, D, H, W), float32.

        Raises:
            InputError: `window` is not increasing.
        """
        if self.window is None:
            dims = tuple(range(1, image.ndim))
            spread = image.std(dims, keepdim=True).clamp_min(SMALLEST_SPREAD)
            return (image - image.mean(dims, keepdim=True)) / spread
        low, high = self.window
        if not low < high:
            raise InputError(f"normalisation.window must be increasing, got {tuple(self.window)}")
        return torch.clamp(image, low, high).sub(low).mul(2.0 / (high - low)).sub(1.0)
