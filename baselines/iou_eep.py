"""IoU-EEP: intersection over union of the label with the class that the expected empirical prediction favours.

    e_ic = sum_z P(c given z) p_iz,   prediction_i = argmax_c e_ic,   IoU-EEP = mean_c |y = c and prediction = c| / |y
    = c or prediction = c|

Higher is better; it lies in [0, 1]. The source's softmax is read twice: once for the joint, once for an argmax per
sample. Ties go to the class with more samples.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.
"""

import numpy as np

from baselines.inputs.arrays import Array, read_softmax
from baselines.inputs.predictions import Cases, GivenSoftmax, JointProbability, SecondLookMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import ExpectedPrediction, JointHistogram


def iou_eep_score(softmax: Array, labels: Array, **weights: bool) -> float:
    """Mean over classes of the IoU between the label and the class favoured by the expected empirical prediction.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> iou_eep_score(np.eye(2), np.array([1, 0]))
        1.0
    """
    return value_or_warn(IoUEEP.of_samples(**weights)._of_samples(read_softmax(softmax, labels)))


def iou_eep_from_softmax(histogram: JointHistogram, cases: Cases, **weights: bool) -> Score:
    """IoU-EEP from a soft joint and a second read of the softmax (n, z) and labels (n,) that it was computed from."""
    return IoUEEP.of_samples(**weights)._score(GivenSoftmax(cases, histogram))


class IoUEEP(SecondLookMetric):
    """IoU-EEP, computed in one pass and a second read of the softmax."""

    name = "iou_eep"
    invariances = frozenset({"duplication"})

    def _estimate(self, joint: JointProbability, sums: ExpectedPrediction) -> Score:
        shares = (sums.confusion / sums.count[:, None]).double().numpy() * joint.weight[:, None]
        both = np.diagonal(shares)
        return Score(float(np.mean(both / (shares.sum(axis=0) + shares.sum(axis=1) - both))), reason=joint.note)
