"""Regularised H-score: the H-score with a Ledoit-Wolf covariance, for few samples or many channels.

    H_a = (1 - a) tr(S_a^-1 cov(E[X | y])),  S_a = (1 - a) S + a tr(S)/d I,  S = cov X with 1/n, a the Ledoit-Wolf
    shrinkage

cov(E[X | y]) has 1/(n - 1), as in the authors' code. Higher is better.

References: Ibrahim, Ponomareva, Mazumder, "Newer is Not Always Better: Rethinking Transferability Metrics, Their
Peculiarities, Stability and Performance", ECML PKDD 2022, arXiv 2110.06893; Ledoit, Wolf, "A well-conditioned
estimator for large-dimensional covariance matrices", J. Multivariate Analysis 88 (2004), DOI
10.1016/S0047-259X(03)00096-4.

Deviation: none in value. The shrinkage needs the sum of |x - mean|^4 over all samples, which is computed from the
class moments.
"""

import numpy as np

from baselines.inputs.arrays import Array, Floats
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.statistics import ClassMoments


def regularized_h_score(features: Array, labels: Array, **weights: bool) -> float:
    """H-score with a Ledoit-Wolf covariance.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> labels = np.repeat([0, 1], 50)
        >>> noise = np.random.default_rng(0).normal(size=(100, 3))
        >>> regularized_h_score(noise + 5 * labels[:, None], labels) > regularized_h_score(noise, labels)
        True
    """
    return value_or_warn(regularized_h_score_from_moments(sample_moments(features, labels), **weights))


def regularized_h_score_from_moments(moments: ClassMoments, **weights: bool) -> Score:
    """Regularised H-score from class moments, with the part "shrinkage"; NaN if all features are equal."""
    return RegularizedHScore.of_samples(**weights)._score(moments)


class RegularizedHScore(WeightedMomentMetric):
    """Regularised H-score, computed in one pass over the target."""

    name = "regularized_h_score"
    invariances = frozenset({"rotation", "scale", "shift"})

    def _estimate(self, kept: ClassGaussians) -> Score:
        between = kept.between()
        covariance = (kept.within() + between) / kept.n
        if not np.trace(covariance) > 0:
            return undefined("the features do not vary")
        if not np.isfinite(kept.total_quartics()):
            return undefined("the features' fourth powers overflow")
        shrinkage = ledoit_wolf_shrinkage(kept, covariance)
        d = len(covariance)
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d)
        value = (1 - shrinkage) * float(np.sum(np.linalg.pinv(shrunk, hermitian=True) * between)) / (kept.n - 1)
        return Score(value, reason=kept.note, parts={"shrinkage": shrinkage})


def ledoit_wolf_shrinkage(kept: ClassGaussians, covariance: Floats) -> float:
    """Ledoit-Wolf shrinkage, in [0, 1], of the covariance of all samples."""
    n, d = kept.n, len(covariance)
    square = float(np.sum(covariance**2))
    distance = square - np.trace(covariance) ** 2 / d
    noise = (kept.total_quartics() / n - square) / n
    if distance <= square * d * np.finfo(np.float64).eps:
        return 1.0 if noise > 0 and d > 1 else 0.0
    return float(np.clip(noise / distance, 0, 1))
