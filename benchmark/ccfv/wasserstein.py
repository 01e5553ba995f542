"""Gaussian 2-Wasserstein distance, from samples or from moments.

    W2^2 = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)

Covariances have the denominator n - 1. Reference: Dowson, Landau, "The Fréchet distance between multivariate normal
distributions", J. Multivariate Anal. 12, 1982, doi 10.1016/0047-259X(82)90077-X.
"""

import torch

from benchmark.core.wasserstein import Factor, factor_moments, factor_samples, pairwise_wasserstein2
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.statistics.protocol import Array


def gaussian_wasserstein2(a: Array, b: Array) -> float:
    """Compute W2 between the Gaussians fitted to two sets of samples.

    Args:
        a: (n, d) real numbers.
        b: (q, d) real numbers.

    Returns:
        The distance; NaN with an `UndefinedScoreWarning` if a set has fewer than 2 rows, NaN or inf.

    Raises:
        ValueError: if a shape is wrong or d differs.

    Example:
        >>> a = torch.tensor([[0.0], [2.0]])
        >>> gaussian_wasserstein2(a, a + 3), gaussian_wasserstein2(a, a)
        (3.0, 0.0)
    """
    sets = torch.as_tensor(a), torch.as_tensor(b)
    for name, rows in zip("ab", sets, strict=True):
        if rows.ndim != 2 or rows.shape[1] == 0:
            raise ValueError(f"`{name}` must be real numbers of shape (n, d), got {rows.dtype} {tuple(rows.shape)}")
        if rows.shape[0] < 2:
            return value_or_warn(undefined(f"`{name}` has {rows.shape[0]} rows: a covariance needs 2"))
    return _distance(*(factor_samples(rows) for rows in sets))


def gaussian_wasserstein2_from_moments(mean_a: Array, covariance_a: Array, mean_b: Array, covariance_b: Array) -> float:
    """Compute W2 between two Gaussians given by their moments.

    Args:
        mean_a: (d,) real numbers.
        covariance_a: (d, d) symmetric, positive semi-definite up to rounding.
        mean_b: (d,) real numbers.
        covariance_b: (d, d) symmetric, positive semi-definite up to rounding.

    Returns:
        The distance; NaN with an `UndefinedScoreWarning` if a number is NaN or inf.

    Raises:
        ValueError: if a shape is wrong or d differs.

    Example:
        >>> eye = torch.eye(2)
        >>> gaussian_wasserstein2_from_moments(torch.zeros(2), eye, torch.tensor([3.0, 4.0]), eye)
        5.0
    """
    a = factor_moments(torch.as_tensor(mean_a), torch.as_tensor(covariance_a))
    b = factor_moments(torch.as_tensor(mean_b), torch.as_tensor(covariance_b))
    return _distance(a, b)


def _distance(a: Factor, b: Factor) -> float:
    distance = float(pairwise_wasserstein2([a, b])[0, 1])
    return value_or_warn(Score(distance, reason="a channel holds NaN or inf"), stacklevel=4)
