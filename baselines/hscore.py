"""H-score: how much of the features' variance the classes explain, normalised by the feature covariance.

    H = tr(pinv(cov X) cov(E[X | y])),  both covariances with 1/(n - 1)

Higher is better; it lies in [0, min(k - 1, d)]. It reaches k - 1 when n <= d, where it is uninformative.

Reference: Bao, Li, Huang, Zhang, Zheng, Zamir, Guibas, "An Information-Theoretic Approach to Transferability in Task
Transfer Learning", ICIP 2019, DOI 10.1109/ICIP.2019.8803726.

Deviation: none in value. Channels are scaled to unit variance before the pseudo-inverse, which does not change H and
makes the cut-off of null directions independent of the channels' units. (The elementwise product in one released
version is not the H-score.)
"""

from dataclasses import dataclass

import numpy as np

from baselines.inputs.arrays import Array, Floats
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from benchmark.metric.score import Score, undefined, value_or_warn
from benchmark.metric.standalone import require
from benchmark.statistics import ClassMoments

# Relative deviation below which a channel is constant up to rounding, for up to a million samples
ROUNDING_OF_A_CONSTANT = 1e-12


def h_score(features: Array, labels: Array, **options: object) -> float:
    """tr(pinv(cov X) cov(E[X | y])).

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        options: parameters of `HScore`.

    Returns:
        A number in [0, k - 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> h_score(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]))
        1.0
    """
    return value_or_warn(h_score_from_moments(sample_moments(features, labels), **options))


def h_score_from_moments(moments: ClassMoments, **options: object) -> Score:
    """H-score from class moments, with part "rank", the number of directions kept; NaN if all features are equal."""
    return HScore.of_samples(**options)._score(moments)


@dataclass(kw_only=True, eq=False)
class HScore(WeightedMomentMetric):
    """H-score, computed in one pass over the target.

    Attributes:
        rcond: directions below this share of the largest variance (of unit-variance channels) count as null.
    """

    name = "h_score"
    invariances = frozenset({"rotation", "scale", "shift", "duplication", "channel_scale"})

    rcond: float = 1e-10

    def __post_init__(self) -> None:
        require("rcond", self.rcond, "lie in [0, 1)", 0 <= self.rcond < 1)

    def _estimate(self, kept: ClassGaussians) -> Score:
        between = kept.between()
        values, vectors = unit_spectrum(kept.within() + between, kept.total_mean(), self.rcond)
        if not len(values):
            return undefined("the features do not vary")
        # the two factors 1/(n - 1) cancel
        value = float(np.einsum("dr,de,er,r->", vectors, between, vectors, 1 / values, optimize=True))
        return Score(value, reason=kept.note, parts={"rank": float(len(values))})


def unit_spectrum(scatter: Floats, mean: Floats, rcond: float) -> tuple[Floats, Floats]:
    """Non-null eigenvalues (r,) and V (d, r), such that V diag(1 / values) V' is a generalised inverse of the scatter.

    Channels are scaled to unit variance before the decomposition and V is scaled back; channels that are constant up to
    rounding are left out.
    """
    deviation = np.sqrt(np.maximum(np.diagonal(scatter), 0))
    varies = deviation > ROUNDING_OF_A_CONSTANT * np.abs(mean)
    scale = np.where(varies, 1 / np.where(varies, deviation, 1), 0)
    values, vectors = np.linalg.eigh(scatter * scale[:, None] * scale)
    kept = values > max(rcond, len(mean) * np.finfo(np.float64).eps) * values.max()
    return values[kept], scale[:, None] * vectors[:, kept]
