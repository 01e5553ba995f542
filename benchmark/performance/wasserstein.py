"""Row on the distances of CC-FV: all pairs of Gaussians at once, compared with a matrix square root for each pair.

W2^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

from benchmark.core.wasserstein import factor_samples, pairwise_wasserstein2
from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.timing import time_both

Floats = NDArray[np.float64]

# documented accuracy of `pairwise_wasserstein2`, both in float64
SVD_TOLERANCE = 1e-10
# relative to the trace of the root: for n < d scipy's error reaches 3e-7 of it, which W2 of near sets would amplify
SQRTM_TOLERANCE = 1e-6
OWN = 0.3  # size of a set's own mean, and of its deviation from the common directions


@dataclass(frozen=True)
class W2Pairs:
    """All pairs of m sets; the time of the reference is extrapolated from some pairs.

    Attributes:
        d: feature dims.
        n: samples per set.
        m: number of sets.
        reference_pairs: number of pairs for which the reference is timed and compared.
        repeats: number of timed runs of each.
        bound: minimum speed-up over the reference.
    """

    d: int
    n: int
    m: int
    reference_pairs: int
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Time both, and compare with sqrtm on some pairs and with singular values on all."""
        sets = list(_samples(self.m, self.n, self.d).to(device))
        pairs = list(combinations(range(self.m), 2))
        generator = np.random.default_rng(0)
        some = [pairs[at] for at in generator.permutation(len(pairs))[: self.reference_pairs]]
        arrays = [rows.cpu().numpy() for rows in sets]
        timed = time_both(
            lambda: pairwise_wasserstein2([factor_samples(rows) for rows in sets]),
            lambda: [wasserstein2_by_sqrtm(arrays[a], arrays[b]) for a, b in some],
            repeats=self.repeats,
            device=device,
        )
        distances = timed.found.tolist()
        checks = {
            "svd": Check(max(_svd_error(distances[a][b], arrays[a], arrays[b]) for a, b in pairs), SVD_TOLERANCE),
            "sqrtm": Check(
                max(
                    abs(distances[a][b] ** 2 - distance**2) / (2 * nuclear_norm(arrays[a], arrays[b]))
                    for (a, b), distance in zip(some, timed.expected, strict=True)
                ),
                SQRTM_TOLERANCE,
            ),
        }
        reference = timed.reference * len(pairs) / len(some)
        details = {"pairs": len(pairs), "reference_pairs": len(some)}
        return Measurement(timed.ours, reference, "at least", self.bound, device, checks=checks, details=details)


def wasserstein2_by_sqrtm(a: Floats, b: Floats) -> float:
    """Compute W2 directly from the formula.

    Args:
        a: (n, d) samples.
        b: (q, d) samples.

    Returns:
        W2.
    """
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(axis=0) - b.mean(axis=0)
    root = sqrtm(first @ second)
    return math.sqrt(shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def nuclear_norm(a: Floats, b: Floats) -> float:
    """Compute the trace of the matrix square root as a sum of singular values.

    Args:
        a: (n, d) samples.
        b: (q, d) samples.

    Returns:
        tr (S_a S_b)^(1/2).
    """
    x, y = _scaled(a), _scaled(b)
    return float(np.linalg.svd(x @ y.T, compute_uv=False).sum())


def _svd_error(computed: float, a: Floats, b: Floats) -> float:
    """Relative error of W2 compared with its value from singular values."""
    shift = a.mean(axis=0) - b.mean(axis=0)
    traces = (_scaled(a) ** 2).sum() + (_scaled(b) ** 2).sum()
    distance = math.sqrt(shift @ shift + traces - 2 * nuclear_norm(a, b))
    return float(abs(computed - distance) / distance)


def _scaled(rows: Floats) -> Floats:
    """Scale samples to X with X'X the covariance."""
    scaled: Floats = (rows - rows.mean(axis=0)) / math.sqrt(len(rows) - 1)
    return scaled


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
