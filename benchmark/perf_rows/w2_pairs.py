"""Row on the distances of CC-FV: all pairs of Gaussians at once, against a matrix square root pair by pair.

W2^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

from benchmark.core.bures import factor_samples, pairwise_wasserstein2
from benchmark.perf_rows.measurement import Check, Measurement
from benchmark.perf_rows.timing import time_both

Floats = NDArray[np.float64]
Pair = tuple[int, int]

# float64 against float64: the promise of the core, which takes eigenvalues of a Gram matrix
SVD_TOLERANCE = 1e-10
# the square root of a singular matrix (n < d) is itself off by 3e-8
SQRTM_TOLERANCE = 1e-6


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
        found = timed.found.cpu().numpy()
        checks = {
            "svd": Check(_relative(found, pairs, [wasserstein2_by_svd(arrays[a], arrays[b]) for a, b in pairs]),
                         SVD_TOLERANCE),
            "sqrtm": Check(_relative(found, some, timed.expected), SQRTM_TOLERANCE),
        }  # fmt: skip
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


def wasserstein2_by_svd(a: Floats, b: Floats) -> float:
    """The trace of the square root as the sum of the singular values of the samples' product.

    Args:
        a: (n, d) samples.
        b: (q, d) samples.

    Returns:
        W2.
    """
    x, y = ((rows - rows.mean(axis=0)) / math.sqrt(len(rows) - 1) for rows in (a, b))
    shift = a.mean(axis=0) - b.mean(axis=0)
    nuclear = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return math.sqrt(shift @ shift + (x * x).sum() + (y * y).sum() - 2 * nuclear)


def _samples(m: int, n: int, d: int) -> Tensor:
    """(m, n, d) float64: each set has its own mean and directions, spread as 1 / j along the j-th, as features are."""
    generator = torch.Generator().manual_seed(0)
    scales = 1 / torch.arange(1, d + 1, dtype=torch.float64)
    sets = []
    for _ in range(m):
        white = torch.randn(n, d, generator=generator, dtype=torch.float64)
        directions = torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
        sets.append(
            torch.randn(d, generator=generator, dtype=torch.float64) / math.sqrt(d) + white * scales @ directions
        )
    return torch.stack(sets)


def _relative(found: Floats, pairs: Sequence[Pair], expected: Sequence[float]) -> float:
    """The largest error of any pair, relative to what is expected."""
    errors = [abs(found[a, b] - value) / value for (a, b), value in zip(pairs, expected, strict=True)]
    return float(np.max(errors))
