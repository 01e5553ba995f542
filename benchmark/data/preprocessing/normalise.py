"""Normalisation of intensities: by one rule, or by nnU-Net's classes (Isensee et al., Nature Methods 2021)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.errors import InputError, SkipPair

SMALLEST_SPREAD = 1e-6  # in the image's unit; a constant volume becomes 0 instead of a division by 0
# nnU-Net's own classes; plans that name another class are refused, since loading it would run its code
SCHEMES = (
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
    "ZScoreNormalization",
)


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

    @property
    def scheme(self) -> "Scheme":
        """The scheme of nnU-Net that computes the same for a channel."""
        if self.window is None:
            return Scheme("ZScoreNormalization")
        low, high = self.window
        return Scheme("CTNormalization", mean=(low + high) / 2, std=(high - low) / 2, low=low, high=high)


@dataclass(frozen=True)
class Scheme:
    """How one channel is normalised.

    Attributes:
        name: One of nnU-Net's classes.
        masked: Whether the z-score uses only the nonzero region.
        mean: Mean of the training data's foreground; `CTNormalization` subtracts it.
        std: Deviation of the training data's foreground; `CTNormalization` divides by it.
        low: Lower bound of `CTNormalization`, in the image's units.
        high: Upper bound of `CTNormalization`.
    """

    name: str
    masked: bool = False
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.name not in SCHEMES:
            raise InputError(f"plans: normalization_schemes must be one of {', '.join(SCHEMES)}, got {self.name}")
        if self.name == "CTNormalization" and None in (self.mean, self.std, self.low, self.high):
            raise InputError("plans: CTNormalization needs the foreground's mean, std and percentiles")
        numbers = [value for value in (self.mean, self.std, self.low, self.high) if value is not None]
        if self.name == "CTNormalization" and not all(map(math.isfinite, numbers)):
            raise InputError(f"plans: CTNormalization needs finite numbers, got {numbers}")
        if self.name == "CTNormalization" and (numbers[1] < 0 or numbers[2] > numbers[3]):
            raise InputError(f"plans: CTNormalization needs std >= 0 and low <= high, got {numbers}")

    def __call__(self, channel: NDArray[np.float32], outside: NDArray[np.int16]) -> NDArray[np.float32]:
        """Normalise a channel, (D, H, W) float32; as in nnU-Net, some schemes change it in place.

        `outside` is (D, H, W) int16, -1 outside the nonzero region.

        Raises:
            InputError: RGB values are not in 0 to 255.
        """
        from nnunetv2.preprocessing.normalization import default_normalization_schemes

        bounds = {"mean": self.mean, "std": self.std, "percentile_00_5": self.low, "percentile_99_5": self.high}
        if self.name == "RGBTo01Normalization" and not (channel.min() >= 0 and channel.max() <= 255):
            raise InputError(f"RGB intensities must be in 0 to 255, got {channel.min():g} to {channel.max():g}")
        scheme = getattr(default_normalization_schemes, self.name)
        return np.asarray(scheme(use_mask_for_norm=self.masked, intensityproperties=bounds).run(channel, outside))


@dataclass(frozen=True)
class ChannelSchemes:
    """A scheme for each channel, or a single scheme for all channels.

    Attributes:
        schemes: The schemes, in the order of the channels.
    """

    schemes: tuple[Scheme, ...]

    @property
    def masked(self) -> bool:
        """Whether a scheme needs the nonzero region."""
        return any(scheme.masked for scheme in self.schemes)

    def of_channels(self, channels: int) -> tuple[Scheme, ...]:
        """The scheme of each channel.

        Raises:
            SkipPair: The number of channels differs from that of schemes, and the schemes differ from each other.
        """
        schemes = self.schemes if len(self.schemes) == channels else tuple(dict.fromkeys(self.schemes)) * channels
        if len(schemes) != channels:
            raise SkipPair(f"the plan normalises {len(self.schemes)} channels in different ways, "
                           f"but the task has {channels} channels")  # fmt: skip
        return schemes

    def __call__(self, image: NDArray[np.float32], outside: NDArray[np.int16]) -> NDArray[np.float32]:
        """Normalise an image (c, D, H, W) float32; `outside` as in `Scheme`, errors as in `of_channels`."""
        schemes = self.of_channels(len(image))
        return np.stack([scheme(channel, outside) for scheme, channel in zip(schemes, image, strict=True)])
