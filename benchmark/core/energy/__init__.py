"""Hyperspherical (Riesz) energy of points, a measure of how unevenly they are spread.

    E_s = mean (or sum) over ordered pairs a != b of max(|v_a - v_b|, floor)^-s

A low energy means widely spread points. The full n x n distance matrix is never stored.

Reference: Liu, Lin, Liu, Liu, Yu, Dai, Song, "Learning towards Minimum Hyperspherical Energy", NeurIPS 2018,
arXiv 1805.09298.
"""

import math
from typing import Literal

from torch import Tensor

from benchmark.core.backend import Backend, resolve_backend
from benchmark.core.energy import reference


def riesz_energy(
    points: Tensor,
    *,
    s: int = 1,
    floor: float = 1e-3,
    reduction: Literal["mean", "sum"] = "mean",
    backend: Backend = "auto",
) -> float:
    """Compute the energy of n points.

    Distances come from a float64 matrix product of the centred points; pairs too close for its precision are subtracted
    coordinate by coordinate, so that the relative error of each distance is below 1e-9.

    Args:
        points: (n, d) real numbers.
        s: exponent, positive.
        floor: lower bound of distances, positive; used for coincident points.
        reduction: "mean" or "sum" over ordered pairs.
        backend: "auto", "torch" or "triton".

    Returns:
        The energy; NaN for fewer than 2 points, or if a coordinate is NaN or inf.

    Raises:
        ValueError: if an argument is invalid, or the backend cannot run on the device.

    Example:
        >>> import torch
        >>> riesz_energy(torch.tensor([[0.0], [2.0]])), riesz_energy(torch.tensor([[0.0], [2.0]]), s=2, reduction="sum")
        (0.5, 0.5)
    """
    if points.ndim != 2 or points.is_complex():
        raise ValueError(f"`points` must be real of shape (n, d), got {points.dtype} {tuple(points.shape)}")
    if s <= 0:
        raise ValueError(f"`s` must be positive, got {s}")
    if not (floor > 0 and math.isfinite(floor)):
        raise ValueError(f"`floor` must be positive, got {floor}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f'`reduction` must be "mean" or "sum", got {reduction!r}')
    n = points.shape[0]
    if n < 2 or not points.isfinite().all():
        return math.nan
    if resolve_backend(backend, points.device) == "triton":
        from benchmark.core.energy import triton_kernel

        total = float(triton_kernel.riesz_energy(points, s=s, floor=floor))
    else:
        total = float(reference.riesz_energy(points, s=s, floor=floor))
    return total / (n * (n - 1)) if reduction == "mean" else total
