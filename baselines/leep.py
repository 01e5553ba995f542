"""LEEP: the log-likelihood of the labels under the expected empirical prediction.

    LEEP = mean_i log sum_z P(y_i given z) p_iz,   P(c given z) from the soft joint J

Higher (closer to 0) is better. The source's softmax is read twice: once for the joint, once for a logarithm per sample.

Reference: Nguyen, Hassner, Seeger, Archambeau, "LEEP: A New Measure to Evaluate Transferability of Learned
Representations", ICML 2020, arXiv 2002.12462.

Deviation: a source class of probability zero is ignored; two of the released versions divide by zero and return NaN.
"""

from baselines.inputs.arrays import Array, Samples, read_softmax
from baselines.inputs.predictions import Cases, GivenSoftmax, JointProbability, SecondLookMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ExpectedPrediction, JointHistogram


def leep_score(softmax: Array, labels: Array, **weights: bool) -> float:
    """Mean log expected empirical prediction of the true class.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> import numpy as np
        >>> leep_score(np.eye(2), np.array([0, 1]))
        0.0
        >>> round(leep_score(np.ones((4, 1)), np.array([0, 0, 1, 1])) - float(np.log(0.5)), 12)
        0.0
    """
    return value_or_warn(leep_from_samples(read_softmax(softmax, labels), **weights))


def leep_from_samples(samples: Samples, **weights: bool) -> Score:
    """LEEP from validated softmax and labels."""
    return LEEP.of_samples(**weights)._of_samples(samples)


def leep_from_softmax(histogram: JointHistogram, cases: Cases, **weights: bool) -> Score:
    """LEEP from a soft joint and a second read of the softmax (n, z) and labels (n,) that it was computed from."""
    return LEEP.of_samples(**weights)._score(GivenSoftmax(cases, histogram))


class LEEP(SecondLookMetric):
    """LEEP, computed in one pass and a second read of the softmax."""

    name = "leep"
    invariances = frozenset({"duplication"})

    def _estimate(self, joint: JointProbability, sums: ExpectedPrediction) -> Score:
        return Score(float(joint.weight @ (sums.log_sum / sums.count).numpy()), reason=joint.note)
