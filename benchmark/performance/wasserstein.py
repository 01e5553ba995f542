"""Row on the distances of CC-FV: all pairs of Gaussians at once, against a matrix square root pair by pair.

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

# float64 against float64: the promise of the core, which takes eigenvalues of a Gram matrix
SVD_TOLERANCE = 1e-10
# of the trace of the root: where n < d scipy's own is off by up to 3e-7 of it, which W2 of near sets would multiply
SQRTM_TOLERANCE = 1e-6
OWN = 0.3  # size of a set's own mean, and of its own part of each direction


@dataclass(frozen=True)
class W2Pairs:
    """All pairs of m sets; the reference is timed on some pairs, and its time per pair taken times all.

    Attributes:
        d: feature dims.
        n: samples a set.
        m: sets.
        reference_pairs: pairs that the reference is timed and compared on.
        repeats: turns.
        bound: how many times faster ours is at least.
    """

    d: int
    n: int
    m: int
    reference_pairs: int
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Time both, and compare ours with sqrtm on some pairs and with singular values on all."""
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
        found = timed.found.tolist()
        checks = {
            "svd": Check(max(_svd_error(found[a][b], arrays[a], arrays[b]) for a, b in pairs), SVD_TOLERANCE),
            "sqrtm": Check(
                max(
                    abs(found[a][b] ** 2 - distance**2) / (2 * nuclear_norm(arrays[a], arrays[b]))
                    for (a, b), distance in zip(some, timed.expected, strict=True)
                ),
                SQRTM_TOLERANCE,
            ),
        }
        reference = timed.reference * len(pairs) / len(some)
        details = {"pairs": len(pairs), "reference_pairs": len(some)}
        return Measurement(timed.ours, reference, "at least", self.bound, device, checks=checks, details=details)


def wasserstein2_by_sqrtm(a: Floats, b: Floats) -> float:
    """The formula as it stands.

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
    """The trace of the square root, as the sum of the singular values of the samples' product.

    Args:
        a: (n, d) samples.
        b: (q, d) samples.

    Returns:
        tr (S_a S_b)^(1/2).
    """
    x, y = _scaled(a), _scaled(b)
    return float(np.linalg.svd(x @ y.T, compute_uv=False).sum())


def _svd_error(found: float, a: Floats, b: Floats) -> float:
    """How far W2 is from that by singular values, relative to it."""
    shift = a.mean(axis=0) - b.mean(axis=0)
    traces = (_scaled(a) ** 2).sum() + (_scaled(b) ** 2).sum()
    distance = math.sqrt(shift @ shift + traces - 2 * nuclear_norm(a, b))
    return float(abs(found - distance) / distance)


def _scaled(rows: Floats) -> Floats:
    """X' with X'^T X' the covariance."""
    scaled: Floats = (rows - rows.mean(axis=0)) / math.sqrt(len(rows) - 1)
    return scaled


def _samples(m: int, n: int, d: int) -> Tensor:
    """(m, n, d) float64, as one class is in m cases: directions in common but for a part, the j-th spread as 1 / j."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scales, common = 1 / torch.arange(1, d + 1, dtype=torch.float64), normal(d, d)
    sets = []
    for _ in range(m):
        directions = (common + OWN * normal(d, d)) / math.sqrt(d)
        sets.append(OWN * normal(d) / math.sqrt(d) + normal(n, d) * scales @ directions)
    return torch.stack(sets)
