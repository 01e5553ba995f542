"""Nuclear norms and polar factors from matrix products only, for devices where eigensolvers are slow.

The odd polynomial p(x) = 3/2 (r x) - 1/2 (r x)^3 pushes singular values towards 1. For singular values in [l, u] the
scale r = sqrt(3 / (l^2 + l u + u^2)) makes p(l) = p(u) the new lower end and 1 the upper, so the smallest grow by up
to a factor of 2.6 per step. The schedule is fitted on [l, 1.01 u], as values that exceed u by rounding would diverge.

References: Higham, "Functions of Matrices", SIAM 2008, ch. 8; Chen, Chow, "A stable scaling of Newton-Schulz for
improving the sign function computation of a Hermitian matrix", Argonne preprint ANL/MCS-P5059-0114, 2014.
"""

from functools import cache

import torch
from torch import Tensor

# Smallest singular value, relative to the Frobenius norm, that the schedule brings to 1. Smaller values are
# underestimated, by at most 1e-11 of a nuclear norm of rank 100.
LOWEST = 1e-13
UPPER_MARGIN = 1.01
# Below this distance from 1 the plain iteration converges by itself, and a margin would only slow it down.
SETTLED = 1e-2
# Final distance of all other singular values from 1; the error of the nuclear norm is its square.
CONVERGED = 1e-9


@cache
def schedule(lowest: float = LOWEST) -> tuple[float, ...]:
    """Compute the scale r of each step.

    Args:
        lowest: smallest singular value to bring to 1, relative to an upper end of 1.

    Example:
        >>> len(schedule(1e-13)), round(schedule(0.5)[0], 4)
        (36, 1.3)
    """
    low, high = lowest, 1.0
    scales: list[float] = []
    while 1 - low > CONVERGED:
        top = UPPER_MARGIN * high if 1 - low > SETTLED else high
        scale = (3 / (low**2 + low * top + top**2)) ** 0.5
        scales.append(scale)
        low, high = min(_step(low, scale), _step(top, scale)), 1.0
    return tuple(scales)


def polar_factors(matrices: Tensor) -> Tensor:
    """Compute the partial isometry U of each polar decomposition M = U (M'M)^(1/2).

    Args:
        matrices: (b, r, q) float64, r <= q.

    Returns:
        (b, r, q) float64; 0 for a matrix of zeros.
    """
    norms = matrices.square().sum(dim=(1, 2), keepdim=True).sqrt()
    x = matrices / torch.where(norms > 0, norms, 1.0)
    for scale in schedule():
        x = torch.baddbmm(x, x @ x.mT, x, beta=1.5 * scale, alpha=-0.5 * scale**3)
    return x


def nuclear_norms(matrices: Tensor) -> Tensor:
    """Sum of singular values of each matrix, (b, r, q) with r <= q to (b,), with a relative error of at most 1e-10."""
    return (polar_factors(matrices) * matrices).sum(dim=(1, 2))


def _step(x: float, scale: float) -> float:
    return 1.5 * scale * x - 0.5 * (scale * x) ** 3
