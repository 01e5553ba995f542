"""Distances between the Gaussians of one class in different cases: W2, and two divergences in its place.

With m the means, T the shrunk covariances and M = (T_i + T_j) / 2 their mean,

    KL(i || j) = (tr(T_j^-1 T_i) + (m_i - m_j)' T_j^-1 (m_i - m_j) - d + log det T_j - log det T_i) / 2
    B(i, j) = (m_i - m_j)' M^-1 (m_i - m_j) / 8 + log(det M / sqrt(det T_i det T_j)) / 2
    T = (1 - a) S + a (tr S / d) I

A covariance S of fewer than d + 1 points cannot be inverted; T can, and its condition number is at most d / a. W2 needs
no inverse and reads S itself. KL depends on the order of the two cases, so it is averaged over both: the mean over
ordered pairs of cases is then the mean over pairs. Both divergences leave rotations, shifts and the scale of the
features without effect; W2 grows with the scale.

The CC-FV paper names both divergences in an ablation, but not how it inverts covariances; the shrinkage is ours.

References: Kullback, Leibler, "On information and sufficiency", Ann. Math. Stat. 22, 1951, doi 10.1214/aoms/1177729694;
Bhattacharyya, "On a measure of divergence between two statistical populations defined by their probability
distributions", Bull. Calcutta Math. Soc. 35, 1943.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from benchmark.core.wasserstein import Factor, pairwise_wasserstein2
from benchmark.errors import InputError
from benchmark.metric.standalone import require_choice

Distance: TypeAlias = Literal["w2", "kl", "bhattacharyya"]

SHRINKAGE = 0.01
# With less, rounding of nearly singular covariances would reach ROUNDING.
LOWEST_SHRINKAGE = 1e-4
# A distance below this share of the features' size is float32 rounding, not a difference between cases.
CONSTANT = 1e-6
# A divergence below this is rounding of traces and determinants: measured for equal Gaussians, d = 64 to 1024, at most
# 2e-11 with the default shrinkage and 2e-9 with the lowest. It is then 0; means that differ by 1e-4 sigma give as much.
ROUNDING = 1e-8
CHUNK = 2**22  # numbers of the matrices that are factored together: 32 MB


def pairwise_distances(
    gaussians: Sequence[Factor | None], distance: Distance = "w2", *, shrinkage: float = SHRINKAGE
) -> Tensor:
    """Compute a distance between all pairs of Gaussians; that of KL is the mean of both directions.

    Args:
        gaussians: m factored Gaussians in the same d dimensions; None for a missing one.
        distance: "w2", "kl" or "bhattacharyya".
        shrinkage: a of the divergences, from 0.0001 to 1; without effect on W2.

    Returns:
        (m, m) float64, symmetric, 0 on the diagonal; NaN in the rows and columns of a Gaussian that is missing, that
        has NaN or inf, or, for the divergences, whose covariance is 0.

    Raises:
        ValueError: if d differs, or an argument is invalid.

    Example:
        >>> from benchmark.core.wasserstein import factor_samples
        >>> a, b = (factor_samples(torch.tensor([[0.0], [2.0]]) + shift) for shift in (0, 4))
        >>> [round(float(pairwise_distances([a, b], name)[0, 1]), 9) for name in ("w2", "kl", "bhattacharyya")]
        [4.0, 4.0, 1.0]
    """
    require_choice("distance", distance, Distance)
    if distance == "w2":
        return pairwise_wasserstein2(gaussians)
    if distance == "kl":
        directed = pairwise_kl(gaussians, shrinkage=shrinkage)
        return (directed + directed.T) / 2
    return pairwise_bhattacharyya(gaussians, shrinkage=shrinkage)


def pairwise_kl(gaussians: Sequence[Factor | None], *, shrinkage: float = SHRINKAGE) -> Tensor:
    """Compute KL(i || j) between all pairs of Gaussians; arguments and NaN as in `pairwise_distances`.

    Returns:
        (m, m) float64, nats; row i, column j is the divergence of i from j. Not symmetric.

    Example:
        >>> from benchmark.core.wasserstein import factor_samples
        >>> unit, wide = (factor_samples(torch.tensor([[-s], [s]])) for s in (1.0, 2.0))
        >>> round(float(pairwise_kl([unit, wide])[0, 1]), 6)  # (1/4 - 1 + log 4) / 2
        0.318147
    """
    return _between_usable(gaussians, shrinkage, _kl)


def pairwise_bhattacharyya(gaussians: Sequence[Factor | None], *, shrinkage: float = SHRINKAGE) -> Tensor:
    """Compute the Bhattacharyya distance between all pairs; arguments and result as in `pairwise_distances`.

    Example:
        >>> from benchmark.core.wasserstein import factor_samples
        >>> unit, wide = (factor_samples(torch.tensor([[-s], [s]])) for s in (1.0, 2.0))
        >>> round(float(pairwise_bhattacharyya([unit, wide])[0, 1]), 6)  # log(2.5 / 2) / 2
        0.111572
    """
    return _between_usable(gaussians, shrinkage, _bhattacharyya)


def require_shrinkage(shrinkage: float) -> None:
    """Check a shrinkage.

    Raises:
        InputError: if it is not a number in its range.
    """
    number = shrinkage if isinstance(shrinkage, int | float) else math.nan
    if not LOWEST_SHRINKAGE <= number <= 1:
        raise InputError(f"shrinkage must be a number from {LOWEST_SHRINKAGE} to 1, got {shrinkage!r}")


def feature_size(gaussian: Factor) -> float:
    """Root mean square norm of the samples, with n - 1 in place of n for the covariance."""
    return math.sqrt(float(gaussian.mean.square().sum() + gaussian.root.square().sum()))


def varies(gaussian: Factor) -> bool:
    """Whether the samples of a Gaussian differ by more than float32 rounding."""
    return math.sqrt(float(gaussian.root.square().sum())) > CONSTANT * feature_size(gaussian)


def _between_usable(
    gaussians: Sequence[Factor | None], shrinkage: float, divergences: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Divergences (m, m) of the Gaussians that have them; NaN for the others."""
    require_shrinkage(shrinkage)
    m = len(gaussians)
    usable = {i: gaussian for i, gaussian in enumerate(gaussians) if gaussian and gaussian.finite and varies(gaussian)}
    device = next((gaussian.mean.device for gaussian in usable.values()), torch.device("cpu"))
    result = torch.full((m, m), torch.nan, dtype=torch.float64, device=device)
    if usable:
        means = torch.stack([gaussian.mean for gaussian in usable.values()])
        covariances = torch.stack([_shrunk(gaussian.root, shrinkage) for gaussian in usable.values()])
        values = divergences(means, covariances)
        places = torch.tensor(list(usable), device=device)
        result[places[:, None], places] = torch.where(values < ROUNDING, 0.0, values).fill_diagonal_(0.0)
    return result


def _shrunk(root: Tensor, shrinkage: float) -> Tensor:
    """Shrunk covariance (d, d) of a factor (r, d)."""
    covariance = (1 - shrinkage) * (root.T @ root)
    covariance.diagonal().add_(shrinkage * root.square().sum() / root.shape[1])
    return covariance


def _kl(means: Tensor, covariances: Tensor) -> Tensor:
    """KL (m, m) of means (m, d) and covariances (m, d, d): all divergences from one Gaussian at once."""
    m, d = means.shape
    doubled = means.new_empty(m, m)
    logdets = means.new_empty(m)
    for j, covariance in enumerate(covariances):
        triangle = torch.linalg.cholesky(covariance)
        logdets[j] = _logdet(triangle)
        traces = covariances.flatten(1) @ torch.cholesky_inverse(triangle).flatten()
        doubled[:, j] = traces - d + _mahalanobis(triangle, means - means[j])
    return (doubled + logdets - logdets[:, None]) / 2


def _bhattacharyya(means: Tensor, covariances: Tensor) -> Tensor:
    """Bhattacharyya distances (m, m) of means (m, d) and covariances (m, d, d), chunk by chunk."""
    m, d = means.shape
    logdets = torch.stack([_logdet(torch.linalg.cholesky(covariance)) for covariance in covariances])
    result = means.new_zeros(m, m)
    for i in range(m - 1):
        for others in torch.split(torch.arange(i + 1, m, device=means.device), max(1, CHUNK // d**2)):
            triangles = torch.linalg.cholesky((covariances[others] + covariances[i]) / 2)
            shifts = _mahalanobis(triangles, (means[others] - means[i])[:, None])[:, 0]
            volumes = _logdet(triangles) - (logdets[others] + logdets[i]) / 2
            result[i, others] = result[others, i] = shifts / 8 + volumes / 2
    return result


def _logdet(triangle: Tensor) -> Tensor:
    """Logarithm of the determinant of L L', (...), for triangles L (..., d, d)."""
    return 2 * triangle.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)


def _mahalanobis(triangle: Tensor, rows: Tensor) -> Tensor:
    """Squared Mahalanobis norm x' (L L')^-1 x, (..., n), of rows x (..., n, d) for triangles L (..., d, d)."""
    whitened: Tensor = torch.linalg.solve_triangular(triangle, rows.mT, upper=False)
    return whitened.square().sum(dim=-2)
