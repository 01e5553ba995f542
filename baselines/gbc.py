"""GBC: minus the overlap of the class Gaussians, measured by Bhattacharyya coefficients.

    GBC = - sum over ordered pairs a != b of exp(-D_B(a, b)),
    D_B = 1/8 (mu_a - mu_b)' S^-1 (mu_a - mu_b) + 1/2 log(det S / sqrt(det S_a det S_b)),  S = (S_a + S_b) / 2

Higher (closer to 0) is better; the lower bound is -k(k - 1).

Reference: Pándy, Agostinelli, Uijlings, Ferrari, Mensink, "Transferability Estimation using Bhattacharyya Class
Separability", CVPR 2022, arXiv 2111.12780.

Deviations: variances are biased (1/n) and floored at `var_floor` = 1e-4 as in the authors' code. The floor is absolute,
so features much smaller than its root (0.01) are not separated; pass a smaller floor for them. The authors' spherical
form omits the factor d in the log-determinant; ours includes it. `full`, which their code lacks, floors eigenvalues.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from baselines.inputs.arrays import Array, Floats
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, project, sample_moments
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require, require_choice
from benchmark.statistics import ClassMoments

Gaussian: TypeAlias = Literal["diagonal", "spherical", "full"]


def gbc_score(features: Array, labels: Array, **options: object) -> float:
    """Minus the sum of Bhattacharyya coefficients over ordered pairs of classes.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        options: parameters of `GBC`.

    Returns:
        A number in [-k(k-1), 0]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> near, far = np.array([[0.0], [2.0]]), np.array([[100.0], [102.0]])
        >>> abs(gbc_score(np.vstack([near, far]), np.array([0, 0, 1, 1]))) < 1e-12
        True
        >>> gbc_score(np.vstack([near, near]), np.array([0, 0, 1, 1]))
        -2.0
    """
    return value_or_warn(gbc_from_moments(sample_moments(features, labels), **options))


def gbc_from_moments(moments: ClassMoments, **options: object) -> Score:
    """GBC from class moments; NaN where both a variance and the floor are 0."""
    return GBC.of_samples(**options)._score(moments)


@dataclass(kw_only=True, eq=False)
class GBC(WeightedMomentMetric):
    """GBC, computed in one pass over the target; `balanced` affects only the components of `pca`.

    Attributes:
        gaussian: form of the covariances.
        var_floor: smallest variance (eigenvalue for "full"), in squared feature units.
        pca: number of principal components (at most d) to project onto first, or None.
    """

    name = "gbc"
    invariances = frozenset({"shift", "duplication"})

    gaussian: Gaussian = "diagonal"
    var_floor: float = 1e-4
    pca: int | None = None

    def __post_init__(self) -> None:
        require_choice("gaussian", self.gaussian, Gaussian)
        require("var_floor", self.var_floor, "not be negative", self.var_floor >= 0)
        require("pca", self.pca, "be at least 1 component", self.pca is None or self.pca >= 1)

    def _estimate(self, kept: ClassGaussians) -> Score:
        if self.pca is not None:
            kept = project(kept, min(self.pca, kept.mean.shape[1]))
        distance = _distances(kept, self.gaussian, self.var_floor)
        if not np.isfinite(distance).all():
            return undefined("a class has no variance in some direction, and `var_floor` is 0")
        return Score(0.0 - float(np.exp(-distance[~np.eye(len(kept.count), dtype=bool)]).sum()), reason=kept.note)


def _distances(kept: ClassGaussians, gaussian: Gaussian, floor: float) -> Floats:
    """Bhattacharyya distances (k, k); NaN or inf where a covariance is singular."""
    covariance = kept.scatter / kept.count[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        if gaussian == "full":
            return _full_distances(kept.mean, covariance, floor)
        variance = np.maximum(np.diagonal(covariance, axis1=1, axis2=2), floor)
        if gaussian == "spherical":
            variance = np.broadcast_to(variance.mean(axis=1, keepdims=True), variance.shape)
        middle = (variance[:, None] + variance[None]) / 2
        apart = (kept.mean[:, None] - kept.mean[None]) ** 2
        logs = np.log(variance)
        return np.asarray(
            (apart / middle).sum(axis=2) / 8 + (np.log(middle) - (logs[:, None] + logs[None]) / 2).sum(axis=2) / 2
        )


def _full_distances(mean: Floats, covariance: Floats, floor: float) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    values[values <= values.max(axis=1, keepdims=True) * mean.shape[1] * np.finfo(np.float64).eps] = 0  # rounding
    values = np.maximum(values, floor)
    covariance = (vectors * values[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    logdet = np.log(values).sum(axis=1)
    distance = np.zeros((len(mean), len(mean)))
    for a, b in zip(*np.triu_indices(len(mean), 1), strict=True):
        value, axes = np.linalg.eigh((covariance[a] + covariance[b]) / 2)
        apart = axes.T @ (mean[a] - mean[b])
        pair = (apart**2 / value).sum() / 8 + (np.log(value).sum() - (logdet[a] + logdet[b]) / 2) / 2
        distance[a, b] = distance[b, a] = pair
    return distance
