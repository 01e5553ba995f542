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

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import Tensor

from benchmark.core.wasserstein import newton_schulz, reference
from benchmark.core.wasserstein.reference import Factor

Method: TypeAlias = Literal["auto", "eigen", "newton_schulz"]


def factor_samples(rows: Tensor) -> Factor:
    """Fit a Gaussian to samples, as a mean and a factor of the covariance.

    Args:
        rows: (n, d) real numbers, n >= 2.

    Returns:
        mean (d,) and root (r, d), r <= min(n - 1, d), in float64; root' root is the covariance.

    Raises:
        ValueError: if there are fewer than 2 rows, or the shape is wrong.

    Example:
        >>> import torch
        >>> gaussian = factor_samples(torch.tensor([[0.0, 1.0], [2.0, 1.0]]))
        >>> gaussian.mean.tolist(), round((gaussian.root.T @ gaussian.root)[0, 0].item(), 9)
        ([1.0, 1.0], 2.0)
    """
    if rows.ndim != 2 or rows.shape[0] < 2 or rows.shape[1] == 0 or rows.is_complex():
        raise ValueError(f"`rows` must be real of shape (n, d) with n >= 2, got {rows.dtype} {tuple(rows.shape)}")
    return reference.factor_samples(rows)


def factor_moments(mean: Tensor, covariance: Tensor) -> Factor:
    """Factor a Gaussian given by a mean and a covariance.

    Small directions are less accurate than from samples: if the covariance is singular, the error can reach 1e-8 of the
    largest standard deviation.

    Args:
        mean: (d,) real numbers.
        covariance: (d, d) symmetric; eigenvalues below rounding count as 0.

    Returns:
        mean (d,) and root (r, d), in float64.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import torch
        >>> factor_moments(torch.zeros(2), torch.diag(torch.tensor([4.0, 0.0]))).root.abs().tolist()
        [[2.0, 0.0]]
    """
    d = mean.numel()
    if mean.shape != (d,) or covariance.shape != (d, d):
        shapes = f"{tuple(mean.shape)} and {tuple(covariance.shape)}"
        raise ValueError(f"`mean` and `covariance` must have shapes (d,) and (d, d), got {shapes}")
    return reference.factor_moments(mean, covariance)


def pairwise_wasserstein2(gaussians: Sequence[Factor | None], *, method: Method = "auto") -> Tensor:
    """Compute W2 between all pairs of Gaussians.

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
        >>> import torch
        >>> a, b = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [5.0]])
        >>> pairwise_wasserstein2([factor_samples(a), factor_samples(b), None]).tolist()
        [[0.0, 3.0, nan], [3.0, 0.0, nan], [nan, nan, nan]]
    """
    dims = sorted({len(gaussian.mean) for gaussian in gaussians if gaussian is not None})
    if len(dims) > 1:
        raise ValueError(f"`gaussians` must all have the same d, got {dims}")
    if method not in ("auto", "eigen", "newton_schulz"):
        raise ValueError(f'`method` must be "auto", "eigen" or "newton_schulz", got {method!r}')
    on_cuda = any(gaussian is not None and gaussian.mean.is_cuda for gaussian in gaussians)
    products = method == "newton_schulz" or (method == "auto" and on_cuda)
    return reference.pairwise_wasserstein2(gaussians, newton_schulz.nuclear_norms if products else None)


__all__ = ["Factor", "factor_moments", "factor_samples", "pairwise_wasserstein2"]
