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

from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, undefined
from baselines.inputs.gaussians import WeightedMomentMetric, read_moments, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments


def tmi_score(features: Array, labels: Array, *, foreground: bool = False, balanced: bool = False) -> float:
    """Minus the prior-weighted mean of the classes' total variance.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> tmi_score(np.array([[0.0], [2.0], [7.0], [7.0]]), np.array([0, 0, 1, 1]))
        -0.5
    """
    moments = sample_moments(features, labels)
    return value_or_warn(tmi_from_moments(moments, foreground=foreground, balanced=balanced))


def tmi_from_moments(moments: ClassMoments, *, foreground: bool = False, balanced: bool = False) -> Score:
    """TMI from class moments; the arguments are those of `tmi_score`.

    Args:
        moments: class moments of k classes.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score.
    """
    kept = read_moments(moments, foreground=foreground, balanced=balanced)
    if kept.undefined:
        return undefined(kept.undefined)
    return Score(0.0 - float(np.trace(kept.within()) / kept.n), reason=kept.note)


class TMI(WeightedMomentMetric):
    """TMI, computed in one pass over the target; arguments as in `tmi_score`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    name = "tmi"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "shift", "duplication"})

    def _score(self, moments: ClassMoments) -> Score:
        return tmi_from_moments(moments, **self.options)
