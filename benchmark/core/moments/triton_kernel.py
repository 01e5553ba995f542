"""Class moments as Triton kernels: means first, then moments about them, all sums in float64.

Rows are sorted by class and split into tiles of one class each. A program processes one tile: `gram_kernel` one block
of the scatter, with a float64 matrix product (on tensor cores from sm_80), and `tails_kernel` the cubes and quartics.
Partial sums are added in a fixed order, so results are bit-identical between runs.

Tested with Triton's interpreter against the torch reference and compiled ahead of time for sm_80 and sm_90, which says
nothing about its speed on a GPU.
"""

# ruff: noqa: PLR0917 - kernel arguments are positional
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,attr-defined"
# (Triton's kernel language has no types for mypy)

import torch
import triton
import triton.language as tl
from torch import Tensor

from benchmark.core.joint_histogram.triton_kernel import class_sums

ROWS = 32
CHANNELS = 32
# Rows of one class per program
TILE_ROWS = 4096


@triton.jit
def _centred(features, mean, order, at, stop, channel, label, d, stride_n, stride_d):
    """Rows of a tile minus their class mean, (rows, channels) float64; 0 outside."""
    row = tl.load(order + at, mask=at < stop, other=0)
    mask = (at < stop)[:, None] & (channel[None, :] < d)
    value = tl.load(features + row[:, None] * stride_n + channel[None, :] * stride_d, mask=mask, other=0.0)
    centre = tl.load(mean + label * d + channel, mask=channel < d, other=0.0)
    return tl.where(mask, value.to(tl.float64) - centre[None, :], 0.0)


@triton.jit
def gram_kernel(
    features,  # (n, d) floating point
    mean,  # (k, d) float64, contiguous
    order,  # (n,) int64, rows listed by class
    tiles,  # (tiles, 3) int64: class, first and last place in `order`
    out,  # (tiles, d, d) float64
    d,
    stride_n,  # of the features, in elements
    stride_d,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Sum one block of the scatter over a tile."""
    tile = tl.program_id(0).to(tl.int64)
    left = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    right = tl.program_id(2).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)
    label, first, stop = tl.load(tiles + tile * 3), tl.load(tiles + tile * 3 + 1), tl.load(tiles + tile * 3 + 2)
    total = tl.zeros((CHANNELS, CHANNELS), dtype=tl.float64)
    for start in range(first, stop, ROWS):
        at = start + tl.arange(0, ROWS)
        a = _centred(features, mean, order, at, stop, left, label, d, stride_n, stride_d)
        b = _centred(features, mean, order, at, stop, right, label, d, stride_n, stride_d)
        total += tl.dot(tl.trans(a), b, out_dtype=tl.float64)
    mask = (left[:, None] < d) & (right[None, :] < d)
    tl.store(out + (tile * d + left[:, None]) * d + right[None, :], total, mask=mask)


@triton.jit
def tails_kernel(
    features,  # (n, d) floating point
    mean,  # (k, d) float64, contiguous
    order,  # (n,) int64, rows listed by class
    tiles,  # (tiles, 3) int64: class, first and last place in `order`
    cubes,  # (tiles, d) float64, initially 0
    quartics,  # (tiles,) float64
    d,
    stride_n,  # of the features, in elements
    stride_d,
    ROWS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Sum cubes and quartics over a tile."""
    tile = tl.program_id(0).to(tl.int64)
    label, first, stop = tl.load(tiles + tile * 3), tl.load(tiles + tile * 3 + 1), tl.load(tiles + tile * 3 + 2)
    fourth = tl.zeros((ROWS,), dtype=tl.float64)
    for start in range(first, stop, ROWS):
        at = start + tl.arange(0, ROWS)
        square = tl.zeros((ROWS,), dtype=tl.float64)
        for block in range(0, d, CHANNELS):
            channel = block + tl.arange(0, CHANNELS)
            u = _centred(features, mean, order, at, stop, channel, label, d, stride_n, stride_d)
            square += tl.sum(u * u, axis=1)
        fourth += square * square
        for block in range(0, d, CHANNELS):
            channel = block + tl.arange(0, CHANNELS)
            u = _centred(features, mean, order, at, stop, channel, label, d, stride_n, stride_d)
            place = cubes + tile * d + channel
            before = tl.load(place, mask=channel < d, other=0.0)
            tl.store(place, before + tl.sum(square[:, None] * u, axis=0), mask=channel < d)
    tl.store(quartics + tile, tl.sum(fourth, axis=0))


def class_moments(features: Tensor, labels: Tensor, k: int) -> tuple[Tensor, ...]:
    """Fields of `Moments` in their order; arguments as in the reference."""
    d = features.shape[1]
    targets = labels.to(torch.int64)
    count = torch.bincount(targets, minlength=k)
    mean = class_sums(features, targets, k) / count.clamp(min=1)[:, None]
    tiles = _tiles(count.tolist()).to(features.device)
    grams = torch.empty(len(tiles), d, d, dtype=torch.float64, device=features.device)
    cubes = torch.zeros(len(tiles), d, dtype=torch.float64, device=features.device)
    quartics = torch.empty(len(tiles), dtype=torch.float64, device=features.device)
    if len(tiles) and d:
        order = torch.argsort(targets, stable=True)
        inputs = (features, mean, order, tiles)
        blocks = triton.cdiv(d, CHANNELS)
        sizes = {"ROWS": ROWS, "CHANNELS": CHANNELS}
        gram_kernel[(len(tiles), blocks, blocks)](*inputs, grams, d, *features.stride(), **sizes)
        tails_kernel[(len(tiles),)](*inputs, cubes, quartics, d, *features.stride(), **sizes)
    owner = tiles[:, 0]
    return (count, mean, *(_by_class(part, owner, k) for part in (grams, cubes, quartics)))


def _tiles(count: list[int]) -> Tensor:
    """Class, first and last place of each tile, (tiles, 3), in class order."""
    tiles, begin = [], 0
    for label, n in enumerate(count):
        tiles += [(label, at, min(at + TILE_ROWS, begin + n)) for at in range(begin, begin + n, TILE_ROWS)]
        begin += n
    return torch.tensor(tiles, dtype=torch.int64).reshape(-1, 3)


def _by_class(parts: Tensor, owner: Tensor, k: int) -> Tensor:
    return torch.stack([parts[owner == label].sum(dim=0) for label in range(k)])
