"""TransRate: the coding rate of all features minus the mean coding rate within classes.

    R(Z; eps) = 1/2 log det(I + Z'Z / (n eps)),   TransRate = R(Z) - mean_c R(Z_c)

Z is centred by its global mean, and Z_c are its rows of class c, not centred again; n is n_c in R(Z_c). Higher is
better.

Reference: Huang, Huang, Rong, Yang, Wei, "Frustratingly Easy Transferability Estimation", ICML 2022, arXiv 2106.09362.

Deviation: as in the Transfer-Learning-Library's code, the mean over classes is not weighted by class size. `eps` is
absolute, so the score depends on the scale of the features.
"""

from dataclasses import dataclass

import numpy as np

from baselines.inputs.arrays import Array, Floats
from baselines.inputs.gaussians import ClassGaussians, WeightedMomentMetric, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.metric.standalone import require
from benchmark.statistics import ClassMoments


def transrate_score(features: Array, labels: Array, **options: object) -> float:
    """Coding rate of the features minus the classes' mean coding rate, in nats.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        options: parameters of `TransRate`.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> transrate_score(np.array([[-1.0], [1.0]]), np.array([0, 1]))
        0.0
    """
    return value_or_warn(transrate_from_moments(sample_moments(features, labels), **options))


def transrate_from_moments(moments: ClassMoments, **options: object) -> Score:
    """TransRate from class moments, with the parts "whole" and "within"."""
    return TransRate.of_samples(**options)._score(moments)


@dataclass(kw_only=True, eq=False)
class TransRate(WeightedMomentMetric):
    """TransRate, computed in one pass over the target.

    Attributes:
        eps: distortion, in squared feature units.
    """

    name = "transrate"
    invariances = frozenset({"rotation", "shift", "duplication"})
    # The mean over classes is unweighted, so a small distant class can dominate
    exempt = frozenset({"separation"})

    eps: float = 1e-4

    def __post_init__(self) -> None:
        require("eps", self.eps, "be positive", self.eps > 0)

    def _estimate(self, kept: ClassGaussians) -> Score:
        shift = kept.mean - kept.total_mean()
        second = kept.scatter / kept.count[:, None, None] + shift[:, :, None] * shift[:, None, :]
        whole = _coding_rate(np.einsum("c,cde->de", kept.prior, second), self.eps)
        within = float(np.mean([_coding_rate(moment, self.eps) for moment in second]))
        return Score(whole - within, reason=kept.note, parts={"whole": whole, "within": within})


def _coding_rate(second_moment: Floats, eps: float) -> float:
    return float(np.log1p(np.maximum(np.linalg.eigvalsh(second_moment), 0) / eps).sum() / 2)
