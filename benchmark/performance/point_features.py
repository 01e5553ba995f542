"""Row on features at points: gathered from the low-resolution map, compared with upsampling it and indexing."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.core.gather import gather
from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.timing import time_both

# absolute, for features of unit variance: eight float32 products, rounded in different orders
TOLERANCE = 1e-6


@dataclass(frozen=True)
class PointFeatures:
    """Features at points of a volume, from a map of a quarter of its resolution.

    Attributes:
        d: feature dims.
        size: voxels of the volume along each axis, a multiple of 4.
        points: number of points.
        repeats: number of timed runs of each.
        bound: minimum speed-up over the reference.
    """

    d: int
    size: int
    points: int
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Time both and compare all features."""
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(self.d, *[self.size // 4] * 3, generator=generator).to(device)
        points = torch.randint(self.size, (self.points, 3), generator=generator).to(device)
        timed = time_both(
            lambda: gather(features, points, [self.size] * 3),
            lambda: upsample_then_index(features, points, self.size),
            repeats=self.repeats,
            device=device,
        )
        checks = {"absolute": Check(float((timed.found - timed.expected).abs().max()), TOLERANCE)}
        return Measurement(timed.ours, timed.reference, "at least", self.bound, device, checks=checks)


def upsample_then_index(features: Tensor, points: Tensor, size: int) -> Tensor:
    """Compute features at points by upsampling the whole map.

    Args:
        features: (d, *map) float32.
        points: (n, 3) int64.
        size: voxels of the volume along each axis.

    Returns:
        (n, d).
    """
    volume = F.interpolate(features[None], size=[size] * 3, mode="trilinear", align_corners=False)[0]
    x, y, z = points.T
    return volume[:, x, y, z].T
