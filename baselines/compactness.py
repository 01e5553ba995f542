"""Compactness: minus the variance of the features within the target's classes.

    compactness = - sum_c prior_c tr(cov_c),   cov_c with 1/n_c

Higher (closer to 0) is better: tighter classes. It depends on the scale of the features, and compactness is not
separation: features that are all equal score best, so use it together with another estimate.

Source: this project; it is minus the score that Xu, Kang, "Fast and Accurate Transferability Measurement by Evaluating
Intra-class Feature Variance", ICCV 2023, arXiv 2308.05986, propose (`tmi`), in the same units and with the same
deviation from the paper. No released code computes it.
"""

from baselines.inputs.arrays import Array
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from baselines.tmi import variance_within
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments


def compactness_score(features: Array, labels: Array, **weights: bool) -> float:
    """Minus the prior-weighted mean of the classes' total variance.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number that is at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> import numpy as np
        >>> compactness_score(np.array([[0.0], [2.0], [7.0], [7.0]]), np.array([0, 0, 1, 1]))
        -0.5
    """
    return value_or_warn(compactness_from_moments(sample_moments(features, labels), **weights))


def compactness_from_moments(moments: ClassMoments, **weights: bool) -> Score:
    """Compactness from class moments."""
    return Compactness.of_samples(**weights)._score(moments)


class Compactness(WeightedMomentMetric):
    """Compactness, computed in one pass over the target."""

    name = "compactness"
    invariances = frozenset({"rotation", "shift", "duplication"})

    def _estimate(self, kept: ClassGaussians) -> Score:
        return Score(0.0 - variance_within(kept), reason=kept.note)
