"""Rows on operations of `benchmark.core`: class moments, features at points, and distances between Gaussians.

W2^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)
"""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor
from torch.nn import functional as F

from benchmark.core.gather import gather
from benchmark.core.wasserstein import factor_samples, pairwise_wasserstein2
from benchmark.performance.measurement import Check, Measurement, TimedRow
from benchmark.performance.workload import phantom_cases
from benchmark.statistics import ClassMoments

Floats = NDArray[np.float64]

# relative to the largest entry: float64 sums of a million terms, added in different orders
MOMENTS_TOLERANCE = 1e-10
# absolute, for features of unit variance: eight float32 products, rounded in different orders
POINTS_TOLERANCE = 1e-6
# documented accuracy of `pairwise_wasserstein2`, both in float64
SVD_TOLERANCE = 1e-10
# relative to the trace of the root: for n < d scipy's error reaches 3e-7 of it, which W2 of near sets would amplify
SQRTM_TOLERANCE = 1e-6
OWN = 0.3  # size of a set's own mean, and of its deviation from the common directions


@dataclass(frozen=True)
class ClassStatistics(TimedRow):
    """Moments of every class of one case, compared with indexing the features by class with a boolean mask.

    Attributes:
        d: feature dims.
        size: voxels of the case along each axis.
        classes: k.
    """

    rule = "at most"
    d: int
    size: int
    classes: int

    def measure(self, device: str) -> Measurement:
        """Time both, and compare means and scatters with those of the indexed rows."""
        labels = next(phantom_cases(1, size=self.size, classes=self.classes)).labels.reshape(-1).to(device)
        # a channels-first network output, viewed as one row per voxel, as the stream passes it to statistics
        features = torch.randn(self.d, len(labels), generator=torch.Generator().manual_seed(0)).to(device).T
        timed = self._time(
            lambda: ClassMoments.from_samples(features, labels, self.classes),
            lambda: [features[labels == label] for label in range(self.classes)],
            device,
        )
        expected = [rows.double() for rows in timed.expected]
        means = [rows.mean(dim=0) for rows in expected]
        scatters = [(rows - mean).T @ (rows - mean) for rows, mean in zip(expected, means, strict=True)]
        checks = {
            "mean": Check(_largest(timed.result.mean, means), MOMENTS_TOLERANCE),
            "scatter": Check(_largest(timed.result.scatter, scatters), MOMENTS_TOLERANCE),
        }
        return self._measurement(timed, device, checks=checks)


@dataclass(frozen=True)
class PointFeatures(TimedRow):
    """Features at points, from a map of a quarter of the resolution, compared with upsampling the map and indexing.

    Attributes:
        d: feature dims.
        size: voxels of the volume along each axis, a multiple of 4.
        points: number of points.
    """

    rule = "at least"
    d: int
    size: int
    points: int

    def measure(self, device: str) -> Measurement:
        """Time both and compare all features."""
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(self.d, *[self.size // 4] * 3, generator=generator).to(device)
        points = torch.randint(self.size, (self.points, 3), generator=generator).to(device)
        timed = self._time(
            lambda: gather(features, points, [self.size] * 3),
            lambda: upsample_then_index(features, points, self.size),
            device,
        )
        checks = {"absolute": Check(float((timed.result - timed.expected).abs().max()), POINTS_TOLERANCE)}
        return self._measurement(timed, device, checks=checks)


@dataclass(frozen=True)
class W2Pairs(TimedRow):
    """W2 of all pairs of m sets at once, compared with a matrix square root for each of some pairs, extrapolated.

    Attributes:
        d: feature dims.
        n: samples per set.
        m: number of sets.
        reference_pairs: number of pairs for which the reference is timed and compared.
    """

    rule = "at least"
    d: int
    n: int
    m: int
    reference_pairs: int

    def measure(self, device: str) -> Measurement:
        """Time both, and compare with sqrtm on some pairs and with singular values on all."""
        sets = list(_samples(self.m, self.n, self.d).to(device))
        pairs = list(combinations(range(self.m), 2))
        some = [pairs[at] for at in np.random.default_rng(0).permutation(len(pairs))[: self.reference_pairs]]
        arrays = [rows.cpu().numpy() for rows in sets]
        timed = self._time(
            lambda: pairwise_wasserstein2([factor_samples(rows) for rows in sets]),
            lambda: [wasserstein2_by_sqrtm(arrays[a], arrays[b]) for a, b in some],
            device,
        )
        distances = timed.result.tolist()
        svd_errors = [_svd_error(distances[a][b], arrays[a], arrays[b]) for a, b in pairs]
        sqrtm_errors = [
            abs(distances[a][b] ** 2 - distance**2) / (2 * nuclear_norm(arrays[a], arrays[b]))
            for (a, b), distance in zip(some, timed.expected, strict=True)
        ]
        return self._measurement(
            timed,
            device,
            share=len(some) / len(pairs),
            checks={
                "svd": Check(max(svd_errors), SVD_TOLERANCE),
                "sqrtm": Check(max(sqrtm_errors), SQRTM_TOLERANCE),
            },
            details={"pairs": len(pairs), "reference_pairs": len(some)},
        )


def upsample_then_index(features: Tensor, points: Tensor, size: int) -> Tensor:
    """Features (n, d) at points (n, 3) of a volume, by upsampling the whole map (d, *map) float32 to `size` voxels."""
    volume = F.interpolate(features[None], size=[size] * 3, mode="trilinear", align_corners=False)[0]
    x, y, z = points.T
    return volume[:, x, y, z].T


def wasserstein2_by_sqrtm(a: Floats, b: Floats) -> float:
    """W2 of samples (n, d) and (q, d), directly from the formula."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(axis=0) - b.mean(axis=0)
    root = sqrtm(first @ second)
    return math.sqrt(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def nuclear_norm(a: Floats, b: Floats) -> float:
    """Tr (S_a S_b)^(1/2) of samples (n, d) and (q, d), as a sum of singular values."""
    x, y = _scaled(a), _scaled(b)
    return float(np.linalg.svd(x @ y.T, compute_uv=False).sum())


def _svd_error(computed: float, a: Floats, b: Floats) -> float:
    """Relative error of W2 compared with its value from singular values."""
    shift = a.mean(axis=0) - b.mean(axis=0)
    traces = (_scaled(a) ** 2).sum() + (_scaled(b) ** 2).sum()
    distance = math.sqrt(shift @ shift + traces - 2 * nuclear_norm(a, b))
    return float(abs(computed - distance) / distance)


def _scaled(rows: Floats) -> Floats:
    return cast("Floats", (rows - rows.mean(axis=0)) / math.sqrt(len(rows) - 1))


def _samples(m: int, n: int, d: int) -> Tensor:
    """Samples (m, n, d) float64 of one class in m cases: mostly common directions, the j-th of scale 1 / j."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scales, common = 1 / torch.arange(1, d + 1, dtype=torch.float64), normal(d, d)
    sets = []
    for _ in range(m):
        directions = (common + OWN * normal(d, d)) / math.sqrt(d)
        sets.append(OWN * normal(d) / math.sqrt(d) + normal(n, d) * scales @ directions)
    return torch.stack(sets)


def _largest(computed: Tensor, expected: list[Tensor]) -> float:
    """Largest difference, relative to the largest entry."""
    whole = torch.stack(expected).cpu()
    return float((computed - whole).abs().max() / whole.abs().max())
