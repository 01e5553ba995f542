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

from typing import ClassVar, Literal, TypeAlias

import numpy as np

from baselines.inputs.arrays import Array, Floats, undefined
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, project, read_moments, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments

Gaussian: TypeAlias = Literal["diagonal", "spherical", "full"]


def gbc_score(
    features: Array,
    labels: Array,
    *,
    gaussian: Gaussian = "diagonal",
    var_floor: float = 1e-4,
    pca: int | None = None,
    foreground: bool = False,
    balanced: bool = False,
) -> float:
    """Minus the sum of Bhattacharyya coefficients over ordered pairs of classes.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        gaussian: form of the covariances.
        var_floor: smallest variance (eigenvalue for "full"), in squared feature units.
        pca: number of principal components (at most d) to project onto first, or None.
        foreground: leave out class 0.
        balanced: give every class the same weight; affects only the components of `pca`.

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
    score = gbc_from_moments(
        sample_moments(features, labels),
        gaussian=gaussian,
        var_floor=var_floor,
        pca=pca,
        foreground=foreground,
        balanced=balanced,
    )
    return value_or_warn(score)


def gbc_from_moments(
    moments: ClassMoments,
    *,
    gaussian: Gaussian = "diagonal",
    var_floor: float = 1e-4,
    pca: int | None = None,
    foreground: bool = False,
    balanced: bool = False,
) -> Score:
    """GBC from class moments; the arguments are those of `gbc_score`.

    Args:
        moments: class moments of k classes.
        gaussian: form of the covariances.
        var_floor: least variance.
        pca: principal components to keep.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score; NaN where both a variance and the floor are 0.

    Raises:
        ValueError: if an argument is invalid.
    """
    if gaussian not in ("diagonal", "spherical", "full"):
        raise ValueError(f'`gaussian` must be "diagonal", "spherical" or "full", got {gaussian!r}')
    if not var_floor >= 0:
        raise ValueError(f"`var_floor` must not be negative, got {var_floor}")
    if pca is not None and pca < 1:
        raise ValueError(f"`pca` must be at least 1 component, got {pca}")
    kept = read_moments(moments, foreground=foreground, balanced=balanced)
    if kept.undefined:
        return undefined(kept.undefined)
    if pca is not None:
        kept = project(kept, min(pca, kept.mean.shape[1]))
    distance = _distances(kept, gaussian, var_floor)
    if not np.isfinite(distance).all():
        return undefined("a class has no variance in some direction, and `var_floor` is 0")
    others = ~np.eye(len(kept.count), dtype=bool)
    return Score(0.0 - float(np.exp(-distance[others]).sum()), reason=kept.note)


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


class GBC(WeightedMomentMetric):
    """GBC, computed in one pass over the target; arguments as in `gbc_score`.

    Args:
        gaussian: form of the covariances.
        var_floor: least variance.
        pca: principal components to keep.
        foreground: leave out class 0.
        balanced: give every class the same weight.
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    name = "gbc"
    invariances: ClassVar[frozenset[str]] = frozenset({"shift", "duplication"})

    def __init__(
        self,
        *,
        gaussian: Gaussian = "diagonal",
        var_floor: float = 1e-4,
        pca: int | None = None,
        foreground: bool = False,
        balanced: bool = False,
        layer: int = -1,
    ) -> None:
        super().__init__(foreground=foreground, balanced=balanced, layer=layer)
        self.options |= {"gaussian": gaussian, "var_floor": var_floor, "pca": pca}

    def _score(self, moments: ClassMoments) -> Score:
        return gbc_from_moments(moments, **self.options)
