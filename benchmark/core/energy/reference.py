"""Riesz energy in plain torch, the reference implementation for every device."""

import torch
from torch import Tensor

# Rows of distances per block: 512 x 1000 in float64 is 4 MB.
BLOCK_ROWS = 512
# |a|^2 + |b|^2 - 2 a'b has an error of a few 1e-16 of |a|^2 + |b|^2: at this share of it, 1e-9 of the result
CLOSE = 1e-6
# Close pairs per block: 4096 x 128 in float64 is 4 MB.
CLOSE_PAIRS = 4096


def riesz_energy(points: Tensor, *, s: float, floor: float) -> Tensor:
    """Sum over ordered pairs, () float64, block by block; arguments as in `riesz_energy` of the package."""
    x = points.double()
    x = x - x.mean(dim=0)
    norms = x.square().sum(dim=1)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for first in range(0, x.shape[0], BLOCK_ROWS):
        squares = _squares(x[first : first + BLOCK_ROWS], x[first:], norms[first : first + BLOCK_ROWS], norms[first:])
        total += squares.clamp(min=floor**2).pow(-s / 2).triu(diagonal=1).sum()
    return 2 * total


def _squares(left: Tensor, right: Tensor, left_norms: Tensor, right_norms: Tensor) -> Tensor:
    """Squared distances (a, b) between rows; row i of `left` is row i of `right`."""
    scale = left_norms[:, None] + right_norms
    squares = torch.addmm(scale, left, right.T, alpha=-2)
    rows, columns = torch.nonzero((squares < CLOSE * scale).triu(diagonal=1), as_tuple=True)
    for i, j in zip(torch.split(rows, CLOSE_PAIRS), torch.split(columns, CLOSE_PAIRS), strict=True):
        squares[i, j] = (left[i] - right[j]).square().sum(dim=1)
    return squares
