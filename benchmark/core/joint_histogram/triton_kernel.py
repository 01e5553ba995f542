"""Joint histogram as Triton kernels: float64 sums of rows by class, and counts of their argmax.

Each program writes its own partial table, so the result does not depend on the order of programs. Tested with Triton's
interpreter against the torch reference and compiled ahead of time for sm_80 and sm_90, which says nothing about its
speed on a GPU.
"""

# ruff: noqa: PLR0917 - kernel arguments are positional
# mypy: disable-error-code="untyped-decorator,no-untyped-def,no-untyped-call,attr-defined"
# (Triton's kernel language has no types for mypy)

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 128
COLUMNS = 64
# Programs along the rows: enough to fill a GPU, few enough that their partial tables stay small
PROGRAMS = 256


@triton.jit
def class_sums_kernel(
    rows,  # (n, z) floating point
    labels,  # (n,) int64, contiguous
    out,  # (programs, k, z) float64, sums of the rows of each class
    n,
    z,
    k,
    stride_n,  # of the rows, in elements
    stride_z,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sum the rows of each class for a block of columns."""
    program, programs = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    column = tl.program_id(1).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    for label in range(k):
        total = tl.zeros((COLUMNS,), dtype=tl.float64)
        for first in range(program * ROWS, n, programs * ROWS):
            row = first + tl.arange(0, ROWS)
            mine = tl.load(labels + row, mask=row < n, other=-1) == label
            mask = mine[:, None] & (column[None, :] < z)
            value = tl.load(rows + row[:, None] * stride_n + column[None, :] * stride_z, mask=mask, other=0.0)
            total += tl.sum(value.to(tl.float64), axis=0)
        tl.store(out + (program * k + label) * z + column, total, mask=column < z)


@triton.jit
def argmax_kernel(
    rows,  # (n, z) floating point
    labels,  # (n,) int64, contiguous
    cells,  # (n,) int64, label * z + argmax
    n,
    z,
    stride_n,  # of the rows, in elements
    stride_z,
    ROWS: tl.constexpr,
):
    """Compute the histogram cell, label * z + argmax, of each row."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    best = tl.full((ROWS,), float("-inf"), dtype=tl.float64)
    where = tl.zeros((ROWS,), dtype=tl.int64)
    for column in range(z):
        value = tl.load(rows + row * stride_n + column * stride_z, mask=row < n, other=0.0).to(tl.float64)
        better = value > best
        best = tl.where(better, value, best)
        where = tl.where(better, column, where)
    tl.store(cells + row, tl.load(labels + row, mask=row < n, other=0) * z + where, mask=row < n)


def class_sums(rows: Tensor, labels: Tensor, k: int) -> Tensor:
    """Sum the rows (n, z) of each of k classes, (k, z) float64; `labels` (n,) are integers in 0 .. k - 1."""
    n, z = rows.shape
    programs = min(PROGRAMS, max(triton.cdiv(n, ROWS), 1))
    out = torch.empty(programs, k, z, dtype=torch.float64, device=rows.device)
    grid = (programs, triton.cdiv(z, COLUMNS))
    if k and z:
        targets = labels.to(torch.int64).contiguous()
        class_sums_kernel[grid](rows, targets, out, n, z, k, *rows.stride(), ROWS=ROWS, COLUMNS=COLUMNS)
    return out.sum(dim=0)


def joint_histogram(probabilities: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Soft and hard sums, (k, z) float64 each; arguments as in the reference."""
    n, z = probabilities.shape
    soft = class_sums(probabilities, labels, k)
    cells = torch.empty(n, dtype=torch.int64, device=probabilities.device)
    if n:
        targets = labels.to(torch.int64).contiguous()
        grid = (triton.cdiv(n, ROWS),)
        argmax_kernel[grid](probabilities, targets, cells, n, z, *probabilities.stride(), ROWS=ROWS)
    hard = torch.bincount(cells, minlength=k * z).view(k, z).double()
    hard[:, ~soft.isfinite().all(dim=0)] = torch.nan
    return soft, hard
