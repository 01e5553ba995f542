"""Riesz energy as a Triton kernel; each block of pairs subtracts its points coordinate by coordinate, in float64.

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

ROWS = 32


@triton.jit
def energy_kernel(
    points,  # (n, d) any floating point
    out,  # (blocks, blocks) float64, sums over pairs a < b of a block of rows and a block of columns
    n,
    d,
    stride_n,  # of the points, in elements
    stride_d,
    s,  # exponent, float64 as an (1,) tensor
    floor,  # smallest distance, float64 as an (1,) tensor
    ROWS: tl.constexpr,
):
    """Sum over the pairs of two blocks of points."""
    block_a, block_b = tl.program_id(0), tl.program_id(1)
    a = block_a.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    b = block_b.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    total = 0.0
    total = total.to(tl.float64)
    if block_a <= block_b:
        squares = tl.zeros((ROWS, ROWS), dtype=tl.float64)
        for j in range(d):
            left = tl.load(points + a * stride_n + j * stride_d, mask=a < n, other=0.0).to(tl.float64)
            right = tl.load(points + b * stride_n + j * stride_d, mask=b < n, other=0.0).to(tl.float64)
            gap = left[:, None] - right[None, :]
            squares += gap * gap
        least = tl.load(floor)
        distance = tl.maximum(tl.sqrt(squares), least)
        terms = tl.exp(-tl.load(s) * tl.log(distance))
        counted = (a[:, None] < b[None, :]) & (b[None, :] < n)
        total = tl.sum(tl.sum(tl.where(counted, terms, 0.0), axis=1), axis=0)
    tl.store(out + block_a.to(tl.int64) * tl.num_programs(1) + block_b, total)


def riesz_energy(points: Tensor, *, s: float, floor: float) -> Tensor:
    """Sum over ordered pairs, () float64; arguments as in the reference."""
    x = points if points.is_floating_point() else points.double()
    n, d = x.shape
    blocks = triton.cdiv(n, ROWS)
    out = torch.empty(blocks, blocks, dtype=torch.float64, device=x.device)
    scalars = (torch.tensor([value], dtype=torch.float64, device=x.device) for value in (s, floor))
    energy_kernel[(blocks, blocks)](x, out, n, d, *x.stride(), *scalars, ROWS=ROWS)
    return 2 * out.sum()
