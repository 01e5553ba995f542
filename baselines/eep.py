"""EEP: the expected empirical prediction of the true class, LEEP without its logarithm.

    EEP = mean_i sum_z P(y_i given z) p_iz = sum_(c, z) P(c given z) J(c, z)

Higher is better; it lies in (0, 1]. It is a function of the soft joint, so one pass is enough.

Reference: the quantity inside the logarithm of Nguyen, Hassner, Seeger, Archambeau, "LEEP: A New Measure to Evaluate
Transferability of Learned Representations", ICML 2020, arXiv 2002.12462. No released code computes it as a score.
"""

import numpy as np

from baselines.inputs.arrays import Array
from baselines.inputs.predictions import JointProbability, WeightedJointMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram


def eep_score(softmax: Array, labels: Array, **weights: bool) -> float:
    """Mean expected empirical prediction of the true class.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number in (0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> eep_score(np.eye(2), np.array([0, 1]))
        1.0
    """
    return value_or_warn(EEP.of_samples(**weights)._of_softmax(softmax, labels))


def eep_from_joint(histogram: JointHistogram, **weights: bool) -> Score:
    """EEP from the soft joint of the target's labels and the source's softmax."""
    return EEP.of_samples(**weights)._score(histogram)


class EEP(WeightedJointMetric):
    """EEP, computed in one pass over the target."""

    name = "eep"
    invariances = frozenset({"duplication"})

    def _estimate(self, joint: JointProbability) -> Score:
        return Score(float(np.sum(joint.conditional() * joint.joint)), reason=joint.note)
