"""Hyperspherical (Riesz) energy of points: how far from evenly spread they are.

    E_s = mean (or sum) over ordered pairs a != b of max(|v_a - v_b|, floor)^-s

Low energy: widely spread. The n x n matrix of distances is never held.

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
    """Energy of n points.

    Distances come from one float64 matrix product of the centred points; pairs closer than that resolves are
    subtracted coordinate by coordinate, so that each distance is good to 1e-9 of itself.

    Args:
        points: (n, d) real numbers.
        s: exponent, positive.
        floor: smallest distance that counts, positive; coincident points stand at it.
        reduction: "mean" or "sum" over ordered pairs.
        backend: "auto", "torch" or "triton".

    Returns:
        The energy; NaN for fewer than 2 points or where a coordinate is NaN or inf.

    Raises:
        ValueError: if an argument breaks its rule, or the backend cannot run on the device.

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
    total = float(_sum(points, s, floor, backend))
    return total / (n * (n - 1)) if reduction == "mean" else total


def _sum(points: Tensor, s: int, floor: float, backend: Backend) -> Tensor:
    if resolve_backend(backend, points.device) == "triton":
        from benchmark.core.energy import triton_kernel

        return triton_kernel.riesz_energy(points, s=s, floor=floor)
    return reference.riesz_energy(points, s=s, floor=floor)


__all__ = ["riesz_energy"]
