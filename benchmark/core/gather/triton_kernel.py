"""Trilinear gathering at points as a Triton kernel, with eight reads and one write per value.

Tested with Triton's interpreter against the torch reference and compiled ahead of time for sm_80 and sm_90, which says
nothing about its speed on a GPU.
"""

# ruff: noqa: PLR0917 - kernel arguments are positional
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,attr-defined"
# (Triton's kernel language has no types for mypy)

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

POINTS = 16
CHANNELS = 32


@triton.jit
def _corner(at, m, n):
    """Lower corner, upper corner and weight of the upper corner along one axis."""
    u = tl.maximum((m.to(tl.float32) / n.to(tl.float32)) * (at.to(tl.float32) + 0.5) - 0.5, 0.0)
    low = tl.minimum(tl.floor(u).to(tl.int64), m - 1)
    return low, tl.minimum(low + 1, m - 1), tl.minimum(u - low.to(tl.float32), 1.0)


@triton.jit
def gather_kernel(
    features,  # (d, md, mh, mw) the map
    points,  # (n, 3) int64 voxel coordinates, contiguous
    out,  # (n, d) float32, contiguous
    n,
    d,
    md,
    mh,
    mw,
    nd,  # size of the volume
    nh,
    nw,
    stride_c,  # of the map, in elements
    stride_d,
    stride_h,
    stride_w,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Sum the eight corners for a block of points and a block of channels."""
    row = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    channel = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    valid = row < n
    z0, z1, wz = _corner(tl.load(points + row * 3, mask=valid, other=0), md, nd)
    y0, y1, wy = _corner(tl.load(points + row * 3 + 1, mask=valid, other=0), mh, nh)
    x0, x1, wx = _corner(tl.load(points + row * 3 + 2, mask=valid, other=0), mw, nw)
    mask = valid[:, None] & (channel[None, :] < d)
    total = tl.zeros((POINTS, CHANNELS), dtype=tl.float32)
    for corner in tl.static_range(8):
        z, az = (z1, wz) if corner & 4 else (z0, 1 - wz)
        y, ay = (y1, wy) if corner & 2 else (y0, 1 - wy)
        x, ax = (x1, wx) if corner & 1 else (x0, 1 - wx)
        offset = z * stride_d + y * stride_h + x * stride_w
        value = tl.load(features + offset[:, None] + channel[None, :] * stride_c, mask=mask, other=0.0)
        total += (az * ay * ax)[:, None] * value.to(tl.float32)
    tl.store(out + row[:, None] * d + channel[None, :], total, mask=mask)


def gather(features: Tensor, points: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate features at points, in up to three dimensions, (n, d) float32; arguments as in the reference."""
    missing = 3 - len(size)
    volume = features.reshape(features.shape[0], *(1,) * missing, *features.shape[1:]) if missing else features
    where = torch.nn.functional.pad(points.to(features.device, torch.int64), (missing, 0)).contiguous()
    (n, d), grid = (len(points), features.shape[0]), volume.shape[1:]
    out = torch.empty(n, d, dtype=torch.float32, device=features.device)
    if n and d:
        programs = (triton.cdiv(n, POINTS), triton.cdiv(d, CHANNELS))
        shape = [*grid, *(1,) * missing, *size]
        gather_kernel[programs](volume, where, out, n, d, *shape, *volume.stride(), POINTS=POINTS, CHANNELS=CHANNELS)
    return out
