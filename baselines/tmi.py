"""TMI: the variance of the features within the target's classes.

    TMI = sum_c prior_c tr(cov_c),   cov_c with 1/n_c

Higher is better, as in the paper, which reads intra-class variance as adaptability ("evaluates the adaptability of the
model to a new task", its abstract). Classes that are separated perfectly, each at one point, therefore score lowest
(0), and the value depends on the scale of the features. `compactness` is minus this score.

Reference: Xu, Kang, "Fast and Accurate Transferability Measurement by Evaluating Intra-class Feature Variance",
ICCV 2023, arXiv 2308.05986.

Deviation: ours is the weighted variance, in squared feature units, instead of the entropy that the paper estimates; it
has not been compared with released code.
"""

import numpy as np

from baselines.inputs.arrays import Array
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments


def tmi_score(features: Array, labels: Array, **weights: bool) -> float:
    """Prior-weighted mean of the classes' total variance.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number that is at least 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> tmi_score(np.array([[0.0], [2.0], [7.0], [7.0]]), np.array([0, 0, 1, 1]))
        0.5
    """
    return value_or_warn(tmi_from_moments(sample_moments(features, labels), **weights))


def tmi_from_moments(moments: ClassMoments, **weights: bool) -> Score:
    """TMI from class moments."""
    return TMI.of_samples(**weights)._score(moments)


class TMI(WeightedMomentMetric):
    """TMI, computed in one pass over the target."""

    name = "tmi"
    invariances = frozenset({"rotation", "shift", "duplication"})
    # The paper's sign rewards variance within the classes, which falls as they separate: shuffled labels score higher
    exempt = frozenset({"separation"})

    def _estimate(self, kept: ClassGaussians) -> Score:
        return Score(variance_within(kept), reason=kept.note)


def variance_within(kept: ClassGaussians) -> float:
    """Prior-weighted mean of the classes' total variance, in squared feature units."""
    return float(np.trace(kept.within()) / kept.n)
