"""EEP: the expected empirical prediction of the true class, LEEP without its logarithm.

    EEP = mean_i sum_z P(y_i given z) p_iz = sum_(c, z) P(c given z) J(c, z)

Higher is better; it lies in (0, 1]. It is a function of the soft joint, so one pass is enough.

Reference: the quantity inside the logarithm of Nguyen, Hassner, Seeger, Archambeau, "LEEP: A New Measure to Evaluate
Transferability of Learned Representations", ICML 2020, arXiv 2002.12462. No released code computes it as a score.
"""

from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, undefined
from baselines.inputs.predictions import JointProbability, WeightedJointMetric, read_joint, softmax_joint
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram


def eep_score(softmax: Array, labels: Array, *, foreground: bool = False, balanced: bool = False) -> float:
    """Mean expected empirical prediction of the true class.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        A number in (0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> eep_score(np.eye(2), np.array([0, 1]))
        1.0
    """
    return value_or_warn(_score(softmax_joint(softmax, labels, foreground=foreground, balanced=balanced)))


def eep_from_joint(histogram: JointHistogram, *, foreground: bool = False, balanced: bool = False) -> Score:
    """EEP from a joint histogram; the arguments are those of `eep_score`.

    Args:
        histogram: soft joint of the target's labels and the source's softmax.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score.
    """
    return _score(read_joint(histogram.soft, foreground=foreground, balanced=balanced))


def _score(joint: JointProbability) -> Score:
    if joint.undefined:
        return undefined(joint.undefined)
    return Score(float(np.sum(joint.conditional() * joint.joint)), reason=joint.note)


class EEP(WeightedJointMetric):
    """EEP, computed in one pass over the target; arguments as in `eep_score`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    name = "eep"
    invariances: ClassVar[frozenset[str]] = frozenset({"duplication"})

    def _score(self, histogram: JointHistogram) -> Score:
        return eep_from_joint(histogram, **self.options)
