"""SoftIoU-EEP: the soft intersection over union of the expected empirical prediction with the label, mean over classes.

    e_ic = sum_z P(c given z) p_iz,   I_c = mean_i [y_i = c] e_ic = sum_z P(c given z) J(c, z)
    U_c = P(c) + mean_i e_ic - I_c = 2 P(c) - I_c,   SoftIoU-EEP = mean_c I_c / U_c

Higher is better; it lies in (0, 1]. It is a function of the soft joint, so one pass is enough. Designed for
segmentation, where classes are rare.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.
"""

import numpy as np

from baselines.inputs.arrays import Array
from baselines.inputs.predictions import JointProbability, WeightedJointMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram


def soft_iou_eep_score(softmax: Array, labels: Array, **weights: bool) -> float:
    """Mean over classes of the soft IoU of the expected empirical prediction.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        weights: parameters of `ClassWeights`.

    Returns:
        A number in (0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> soft_iou_eep_score(np.eye(2), np.array([1, 0]))
        1.0
    """
    return value_or_warn(SoftIoUEEP.of_samples(**weights)._of_softmax(softmax, labels))


def soft_iou_eep_from_joint(histogram: JointHistogram, **weights: bool) -> Score:
    """SoftIoU-EEP from the soft joint of the target's labels and the source's softmax."""
    return SoftIoUEEP.of_samples(**weights)._score(histogram)


class SoftIoUEEP(WeightedJointMetric):
    """SoftIoU-EEP, computed in one pass over the target."""

    name = "soft_iou_eep"
    invariances = frozenset({"duplication"})

    def _estimate(self, joint: JointProbability) -> Score:
        intersection = np.sum(joint.conditional() * joint.joint, axis=1)
        return Score(float(np.mean(intersection / (2 * joint.weight - intersection))), reason=joint.note)
