"""SoftIoU-EEP: the soft intersection over union of the expected empirical prediction with the label, mean over classes.

    e_ic = sum_z P(c given z) p_iz,   I_c = mean_i [y_i = c] e_ic = sum_z P(c given z) J(c, z)
    U_c = P(c) + mean_i e_ic - I_c = 2 P(c) - I_c,   SoftIoU-EEP = mean_c I_c / U_c

Higher is better; it lies in (0, 1]. It is a function of the soft joint, so one pass is enough. Designed for
segmentation, where classes are rare.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.
"""

from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, undefined
from baselines.inputs.predictions import JointProbability, WeightedJointMetric, read_joint, softmax_joint
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram


def soft_iou_eep_score(softmax: Array, labels: Array, *, foreground: bool = False, balanced: bool = False) -> float:
    """Mean over classes of the soft IoU of the expected empirical prediction.

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
        >>> soft_iou_eep_score(np.eye(2), np.array([1, 0]))
        1.0
    """
    return value_or_warn(_score(softmax_joint(softmax, labels, foreground=foreground, balanced=balanced)))


def soft_iou_eep_from_joint(histogram: JointHistogram, *, foreground: bool = False, balanced: bool = False) -> Score:
    """SoftIoU-EEP from a joint histogram; the arguments are those of `soft_iou_eep_score`.

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
    intersection = np.sum(joint.conditional() * joint.joint, axis=1)
    return Score(float(np.mean(intersection / (2 * joint.weight - intersection))), reason=joint.note)


class SoftIoUEEP(WeightedJointMetric):
    """SoftIoU-EEP, computed in one pass over the target; arguments as in `soft_iou_eep_score`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    name = "soft_iou_eep"
    invariances: ClassVar[frozenset[str]] = frozenset({"duplication"})

    def _score(self, histogram: JointHistogram) -> Score:
        return soft_iou_eep_from_joint(histogram, **self.options)
