"""Pairwise Gaussian 2-Wasserstein distances (Bures metric) between sets of samples.

For Gaussians with means m_i and covariances S_i (denominator n - 1), factored as S_i = L_i' L_i:

    W2^2(i, j) = |m_i - m_j|^2 + tr S_i + tr S_j - 2 tr (S_i S_j)^(1/2),      tr (S_i S_j)^(1/2) = |L_i L_j'|_nuclear

The nuclear norm needs no matrix square root: each set is factored once to its rank r, and all pairs are batched
products of small factors. Where the traces would cancel, W2^2 = |dm|^2 + |L_i - U L_j|^2 is used instead, with U the
polar factor of L_i L_j'.

References: Dowson, Landau, "The Fréchet distance between multivariate normal distributions", J. Multivariate Anal. 12,
1982, doi 10.1016/0047-259X(82)90077-X; Bhatia, Jain, Lim, "On the Bures-Wasserstein distance between positive definite
matrices", Expo. Math. 37, 2019, arXiv 1712.01504.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor

from benchmark.core.wasserstein import newton_schulz

Method: TypeAlias = Literal["auto", "eigen", "newton_schulz"]

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
    """Fit a Gaussian to samples, as a mean and a factor of the covariance.

    Args:
        rows: (n, d) real numbers, n >= 2.

    Returns:
        The Gaussian; its root has n - 1 rows if n <= d, else at most d.

    Raises:
        ValueError: if there are fewer than 2 rows, or the shape is wrong.

    Example:
        >>> gaussian = factor_samples(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        >>> gaussian.mean.tolist(), round((gaussian.root.T @ gaussian.root)[0, 0].item(), 9)
        ([1.0, 1.0], 2.0)
    """
    if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] == 0 or rows.is_complex():
        raise ValueError(f"`rows` must be real of shape (n, d) with n >= 2, got {rows.dtype} {tuple(rows.shape)}")
    x = rows.double()
    n, d = x.shape
    mean = x.mean(dim=0)
    x = (x - mean) / math.sqrt(n - 1)
    if not x.isfinite().all():
        return Factor(mean, x[:1])
    return Factor(mean, _contrasts(n, x) if n <= d else _reduced(torch.linalg.qr(x, mode="r").R))


def factor_moments(mean: Tensor, covariance: Tensor) -> Factor:
    """Factor a Gaussian given by a mean and a covariance.

    Small directions are less accurate than from samples: if the covariance is singular, the error can reach 1e-8 of the
    largest standard deviation.

    Args:
        mean: (d,) real numbers.
        covariance: (d, d) symmetric; eigenvalues at the level of rounding count as 0.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> factor_moments(torch.zeros(2), torch.diag(torch.tensor([4.0, 0.0]))).root.abs().tolist()
        [[2.0, 0.0]]
    """
    d = mean.numel()
    if mean.shape != (d,) or covariance.shape != (d, d):
        shapes = f"{tuple(mean.shape)} and {tuple(covariance.shape)}"
        raise ValueError(f"`mean` and `covariance` must have shapes (d,) and (d, d), got {shapes}")
    matrix = covariance.double()
    if not matrix.isfinite().all():
        return Factor(mean.double(), matrix[:1])
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    kept = values > EPS * len(values) * values[-1].clamp(min=0)
    return Factor(mean.double(), (vectors[:, kept] * values[kept].sqrt()).T)


def pairwise_wasserstein2(gaussians: Sequence[Factor | None], *, method: Method = "auto") -> Tensor:
    """Compute W2 between all pairs of Gaussians; that of smaller rank is the left factor of each product.

    Args:
        gaussians: m factored Gaussians in the same d dimensions; None for a missing one.
        method: how nuclear norms are computed: "eigen" (eigenvalues, or singular values if those are inaccurate),
            "newton_schulz" (only matrix products), or "auto": "newton_schulz" on CUDA, else "eigen". Both have a
            relative error of at most 1e-10.

    Returns:
        (m, m) float64, symmetric, 0 on the diagonal; NaN in the rows and columns of a Gaussian that is missing or has
        NaN or inf.

    Raises:
        ValueError: if d differs, or the method is unknown.

    Example:
        >>> a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [5.0]])
        >>> pairwise_wasserstein2([factor_samples(a), factor_samples(b), None]).tolist()
        [[0.0, 3.0, nan], [3.0, 0.0, nan], [nan, nan, nan]]
    """
    dims = sorted({len(gaussian.mean) for gaussian in gaussians if gaussian is not None})
    if len(dims) > 1:
        raise ValueError(f"`gaussians` must all have the same d, got {dims}")
    if method not in get_args(Method):
        raise ValueError(f'`method` must be "auto", "eigen" or "newton_schulz", got {method!r}')
    known = {i: gaussian for i, gaussian in enumerate(gaussians) if gaussian is not None and gaussian.finite}
    m = len(gaussians)
    device = next((gaussian.mean.device for gaussian in known.values()), torch.device("cpu"))
    distance = torch.full((m, m), torch.nan, dtype=torch.float64, device=device)
    if not known:
        return distance
    products = method == "newton_schulz" or (method == "auto" and device.type == "cuda")
    nuclear = newton_schulz.nuclear_norms if products else nuclear_norms
    order = sorted(known, key=lambda i: known[i].root.shape[0])
    means = torch.stack([known[i].mean for i in order])
    roots = torch.nn.utils.rnn.pad_sequence([known[i].root for i in order], batch_first=True)
    places = torch.tensor(order, device=device)
    distance[places, places] = 0.0
    for at, i in enumerate(order[:-1]):
        squares = _squares_to(known[i], means[at + 1 :], roots[at + 1 :], nuclear)
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
    """Sum of singular values of each matrix, (b, r, q) to (b,) float64, with a relative error of at most 1e-10.

    r is at most q, unless the matrix is padded with zeros. The error of an eigenvalue v of the Gram matrix is at most
    e = r eps times the largest; its root lies between the roots of v - e and v + e. If the sum of these bounds is too
    large, the singular values are computed directly.
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
    return (roots - turned).square().sum(dim=(1, 2))


def _contrasts(n: int, centred: Tensor) -> Tensor:
    """Orthonormal (Helmert) contrasts of centred rows, one fewer than rows, with the same covariance."""
    sums = centred.cumsum(dim=0)
    j = torch.arange(1, n, dtype=torch.float64, device=centred.device)[:, None]
    return (sums[:-1] - j * centred[1:]) / (j * (j + 1)).sqrt()


def _reduced(triangle: Tensor) -> Tensor:
    """Drop the directions of a square factor that are at the level of rounding, such as constant columns."""
    _, values, right = torch.linalg.svd(triangle)
    kept = values > EPS * len(values) * values[0]
    return cast("Tensor", values[kept, None] * right[kept])
