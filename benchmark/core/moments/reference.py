"""Class moments in plain torch, the reference implementation for every device."""

from collections.abc import Sequence

import torch
from torch import Tensor

# Rows per block: 2 MB in float64 at d = 32, which fits in a cache; larger blocks are up to three times slower, smaller
# blocks need more calls.
BLOCK_ROWS = 8192


def class_moments(features: Tensor, labels: Tensor, k: int) -> tuple[Tensor, ...]:
    """Fields of `Moments` in their order; arguments as in `class_moments` of the package."""
    classes = [_one_class(features, torch.nonzero(labels == label).squeeze(1)) for label in range(k)]
    return tuple(torch.cat(field) for field in zip(*classes, strict=True))


def _one_class(features: Tensor, rows: Tensor) -> list[Tensor]:
    total = _block(features[:0])
    for chosen in torch.split(rows, BLOCK_ROWS):
        total = merge(total, _block(_select(features, chosen)))
    return total


def _select(features: Tensor, rows: Tensor) -> Tensor:
    """Select rows; for a transposed channels-first map along its contiguous axis, which is four times as fast."""
    return features.T.index_select(1, rows).T if features.stride(0) == 1 else features.index_select(0, rows)


def _block(rows: Tensor) -> list[Tensor]:
    """Moments of one class's rows with a leading axis of length 1; centred in float64 before any product."""
    x = rows.to(torch.float64, copy=True)
    n = x.shape[0]
    mean = x.sum(dim=0) / max(n, 1)
    x -= mean
    square = (x * x).sum(dim=1)
    count = torch.tensor([n], dtype=torch.int64, device=x.device)
    return [count, mean[None], (x.T @ x)[None], (square @ x)[None], (square @ square)[None]]


def merge(a: Sequence[Tensor], b: Sequence[Tensor]) -> list[Tensor]:
    """Merge moments, given as the fields of `Moments`: shift both to the common mean, then add them."""
    count = a[0] + b[0]
    share = (b[0].double() / count.clamp(min=1)).unsqueeze(1)
    delta = b[1] - a[1]
    moved = zip(_moved(a, share * delta), _moved(b, (share - 1) * delta), strict=True)
    return [count, a[1] + share * delta, *(left + right for left, right in moved)]


def _moved(moments: Sequence[Tensor], delta: Tensor) -> list[Tensor]:
    """Scatter, cubes and quartics about mean + delta.

    From |u - delta|^2 = |u|^2 - 2 u'delta + |delta|^2 and sum u = 0.
    """
    count, _, scatter, cubes, quartics = moments
    n = count.to(delta.dtype)
    trace = scatter.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    square = (delta * delta).sum(dim=-1)
    pushed = torch.einsum("kde,ke->kd", scatter, delta)
    outer = torch.einsum("k,kd,ke->kde", n, delta, delta)
    along = (pushed * delta).sum(dim=-1)
    crossed = (cubes * delta).sum(dim=-1)
    return [
        scatter + outer,
        cubes - 2 * pushed - (trace + n * square)[:, None] * delta,
        quartics - 4 * crossed + 4 * along + (2 * trace + n * square) * square,
    ]
