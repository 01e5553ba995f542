"""TransRate: the coding rate of all features minus the mean coding rate within classes.

    R(Z; eps) = 1/2 log det(I + Z'Z / (n eps)),   TransRate = R(Z) - mean_c R(Z_c)

Z is centred by its global mean, and Z_c are its rows of class c, not centred again; n is n_c in R(Z_c). Higher is
better.

Reference: Huang, Huang, Rong, Yang, Wei, "Frustratingly Easy Transferability Estimation", ICML 2022, arXiv 2106.09362.

Deviation: as in the Transfer-Learning-Library's code, the mean over classes is not weighted by class size. `eps` is
absolute, so the score depends on the scale of the features.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Floats, undefined
from baselines.inputs.gaussians import WeightedMomentMetric, read_moments, sample_moments
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ClassMoments


def transrate_score(
    features: Array, labels: Array, *, eps: float = 1e-4, foreground: bool = False, balanced: bool = False
) -> float:
    """Coding rate of the features minus the classes' mean coding rate, in nats.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.
        eps: distortion, in squared feature units.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> transrate_score(np.array([[-1.0], [1.0]]), np.array([0, 1]))
        0.0
    """
    moments = sample_moments(features, labels)
    return value_or_warn(transrate_from_moments(moments, eps=eps, foreground=foreground, balanced=balanced))


def transrate_from_moments(
    moments: ClassMoments, *, eps: float = 1e-4, foreground: bool = False, balanced: bool = False
) -> Score:
    """TransRate from class moments; the arguments are those of `transrate_score`.

    Args:
        moments: class moments of k classes.
        eps: distortion, in squared feature units.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score, with the parts "whole" and "within".

    Raises:
        ValueError: if `eps` is not positive.
    """
    if not eps > 0:
        raise ValueError(f"`eps` must be positive, got {eps}")
    kept = read_moments(moments, foreground=foreground, balanced=balanced)
    if kept.undefined:
        return undefined(kept.undefined)
    shift = kept.mean - kept.total_mean()
    second = kept.scatter / kept.count[:, None, None] + shift[:, :, None] * shift[:, None, :]
    whole = _coding_rate(np.einsum("c,cde->de", kept.prior, second), eps)
    within = float(np.mean([_coding_rate(moment, eps) for moment in second]))
    return Score(whole - within, reason=kept.note, parts={"whole": whole, "within": within})


def _coding_rate(second_moment: Floats, eps: float) -> float:
    values = np.maximum(np.linalg.eigvalsh(second_moment), 0)
    return float(np.log1p(values / eps).sum() / 2)


class TransRate(WeightedMomentMetric):
    """TransRate, computed in one pass over the target; arguments as in `transrate_score`.

    Args:
        eps: distortion, in squared feature units.
        foreground: leave out class 0.
        balanced: give every class the same weight.
        layer: tapped layer; -1 is the input of the finest segmentation head.
    """

    name = "transrate"
    invariances: ClassVar[frozenset[str]] = frozenset({"rotation", "shift", "duplication"})
    exempt: ClassVar[Mapping[str, str]] = {
        "separation": "the mean over classes is unweighted, so a small distant class can dominate",
    }

    def __init__(self, *, eps: float = 1e-4, foreground: bool = False, balanced: bool = False, layer: int = -1) -> None:
        super().__init__(foreground=foreground, balanced=balanced, layer=layer)
        self.options |= {"eps": eps}

    def _score(self, moments: ClassMoments) -> Score:
        return transrate_from_moments(moments, **self.options)
