"""Pairwise Gaussian 2-Wasserstein distances in plain torch, in float64."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps
# Singular values come from the eigenvalues of a Gram matrix, which is twice as fast as an SVD, while the error bound of
# squaring is below this share of the nuclear norm; else from an SVD. Half of the documented error of 1e-10.
GRAM_ERROR = 5e-11
# Below this share of the traces, cancellation costs more than 1e-11 of W2^2, and the residual form is used.
NEAR = 1e-4


@dataclass(frozen=True)
class Factor:
    """A Gaussian with a factored covariance.

    Attributes:
        mean: (d,) float64.
        root: (r, d) float64; root' root is the covariance.
    """

    mean: Tensor
    root: Tensor

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return bool(self.mean.isfinite().all() and self.root.isfinite().all())


def factor_samples(rows: Tensor) -> Factor:
    """Factor samples; the root has n - 1 rows if n <= d, else at most d.

    Args:
        rows: (n, d), n >= 2.

    Returns:
        The Gaussian; its covariance has denominator n - 1.
    """
    x = rows.double()
    n, d = x.shape
    mean = x.mean(dim=0)
    x = (x - mean) / math.sqrt(n - 1)
    if not x.isfinite().all():
        return Factor(mean, x[:1])
    return Factor(mean, _contrasts(n, x) if n <= d else _reduced(torch.linalg.qr(x, mode="r").R))


def factor_moments(mean: Tensor, covariance: Tensor) -> Factor:
    """Factor a covariance by its eigenvectors.

    Args:
        mean: (d,).
        covariance: (d, d) symmetric.

    Returns:
        The Gaussian, without eigenvalues at the level of rounding.
    """
    matrix = covariance.double()
    if not matrix.isfinite().all():
        return Factor(mean.double(), matrix[:1])
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > EPS * len(values) * values[-1].clamp(min=0)
    return Factor(mean.double(), (vectors[:, kept] * values[kept].sqrt()).T)


def pairwise_wasserstein2(
    gaussians: Sequence[Factor | None], nuclear: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Compute W2 between all pairs; the set of smaller rank is the left factor of each product.

    Args:
        gaussians: m factored Gaussians, or None.
        nuclear: computes nuclear norms of (b, r, q) matrices, r <= q; `nuclear_norms` of this module by default.

    Returns:
        (m, m) float64.
    """
    known = {i: gaussian for i, gaussian in enumerate(gaussians) if gaussian is not None and gaussian.finite}
    m = len(gaussians)
    device = next((gaussian.mean.device for gaussian in known.values()), torch.device("cpu"))
    distance = torch.full((m, m), torch.nan, dtype=torch.float64, device=device)
    if not known:
        return distance
    order = sorted(known, key=lambda i: known[i].root.shape[0])
    means = torch.stack([known[i].mean for i in order])
    roots = torch.nn.utils.rnn.pad_sequence([known[i].root for i in order], batch_first=True)
    places = torch.tensor(order, device=device)
    distance[places, places] = 0.0
    for at, i in enumerate(order[:-1]):
        squares = _squares_to(known[i], means[at + 1 :], roots[at + 1 :], nuclear or nuclear_norms)
        distance[i, places[at + 1 :]] = distance[places[at + 1 :], i] = squares.sqrt()
    return distance


def _squares_to(left: Factor, means: Tensor, roots: Tensor, nuclear: Callable[[Tensor], Tensor]) -> Tensor:
    """W2^2 (b,) from a Gaussian of rank r to b others of rank at least r, padded with rows of zeros."""
    shift = (means - left.mean).square().sum(dim=1)
    traces = left.root.square().sum() + roots.square().sum(dim=(1, 2))
    products = left.root @ roots.mT
    squares = shift + traces - 2 * nuclear(products)
    near = squares < NEAR * traces
    if near.any():
        squares[near] = shift[near] + _residuals(left.root, roots[near], products[near])
    return squares.clamp(min=0)


def nuclear_norms(matrices: Tensor) -> Tensor:
    """Sum of singular values of each matrix, with a relative error of at most 1e-10.

    The error of an eigenvalue v of the Gram matrix is at most e = r eps times the largest; its root lies between the
    roots of v - e and v + e. If the sum of these bounds is too large, the singular values are computed directly.

    Args:
        matrices: (b, r, q) float64, r <= q (or padded with zeros beyond).

    Returns:
        (b,) float64.
    """
    r = matrices.shape[1]
    if r == 0:
        return matrices.new_zeros(matrices.shape[0])
    values = torch.linalg.eigvalsh(matrices @ matrices.mT).clamp(min=0)
    roots = values.sqrt()
    norms: Tensor = roots.sum(dim=1)
    error = r * EPS * values[:, -1:]
    below, above = roots - (values - error).clamp(min=0).sqrt(), (values + error).sqrt() - roots
    coarse = torch.maximum(below, above).sum(dim=1) > GRAM_ERROR * norms
    if coarse.any():
        norms[coarse] = torch.linalg.svdvals(matrices[coarse]).sum(dim=1)
    return norms


def _residuals(root: Tensor, roots: Tensor, products: Tensor) -> Tensor:
    """Squared Bures distance (b,) without cancellation: |roots - U' root|^2, U the polar factor of root roots'.

    `root` has at most as many rows as each of `roots`, so U' preserves its norm.
    """
    left, _, right = torch.linalg.svd(products, full_matrices=False)
    turned: Tensor = right.mT @ (left.mT @ root)
    squares: Tensor = (roots - turned).square().sum(dim=(1, 2))
    return squares


def _contrasts(n: int, centred: Tensor) -> Tensor:
    """Orthonormal (Helmert) contrasts of centred rows, one fewer than rows, with the same covariance."""
    sums = centred.cumsum(dim=0)
    j = torch.arange(1, n, dtype=torch.float64, device=centred.device)[:, None]
    contrasts: Tensor = (sums[:-1] - j * centred[1:]) / (j * (j + 1)).sqrt()
    return contrasts


def _reduced(triangle: Tensor) -> Tensor:
    """Drop the directions of a square factor that are at the level of rounding, such as constant columns."""
    _, values, right = torch.linalg.svd(triangle)
    kept = values > EPS * len(values) * values[0]
    rows: Tensor = values[kept, None] * right[kept]
    return rows
