"""TMI: how compact the classes are, measured by minus their total variance.

    TMI = - sum_c prior_c tr(cov_c),   cov_c with 1/n_c

Higher (closer to 0) is better: tighter classes.

Reference: Xu, Kang, "Fast and Accurate Transferability Measurement by Evaluating Intra-class Feature Variance",
ICCV 2023, arXiv 2308.05986.

Deviation in sign: the paper interprets intra-class variance as adaptability ("evaluates the adaptability of the model
to a new task", its abstract), so larger is better there, and public re-implementations use plus. Ours rewards compact
classes. Minus our score gives the paper's order; a negative agreement in our tables supports the paper's claim.

Deviation in value: ours is the weighted variance, in squared feature units, instead of the entropy that the paper
estimates; it has not been compared with released code. It depends on the scale of the features, and compactness is not
separation: features that are all equal score best, so use it together with another estimate.
"""

import numpy as np

from baselines.inputs.arrays import Array
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments


def tmi_score(features: Array, labels: Array, **weights: bool) -> float:
    """Minus the prior-weighted mean of the classes' total variance.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> tmi_score(np.array([[0.0], [2.0], [7.0], [7.0]]), np.array([0, 0, 1, 1]))
        -0.5
    """
    return value_or_warn(tmi_from_moments(sample_moments(features, labels), **weights))


def tmi_from_moments(moments: ClassMoments, **weights: bool) -> Score:
    """TMI from class moments."""
    return TMI.of_samples(**weights)._score(moments)


class TMI(WeightedMomentMetric):
    """TMI, computed in one pass over the target."""

    name = "tmi"
    invariances = frozenset({"rotation", "shift", "duplication"})

    def _estimate(self, kept: ClassGaussians) -> Score:
        return Score(0.0 - float(np.trace(kept.within()) / kept.n), reason=kept.note)
