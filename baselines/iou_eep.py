"""IoU-EEP: intersection over union of the label with the class that the expected empirical prediction favours.

    e_ic = sum_z P(c given z) p_iz,   prediction_i = argmax_c e_ic,   IoU-EEP = mean_c |y = c and prediction = c| / |y
    = c or prediction = c|

Higher is better; it lies in [0, 1]. The source's softmax is read twice: once for the joint, once for an argmax per
sample. Ties go to the class with more samples.

Reference: Agostinelli, Uijlings, Mensink, Ferrari, "Transferability Metrics for Selecting Source Model Ensembles",
CVPR 2022, arXiv 2111.13011. Deviation: none known; the authors released no code of it.
"""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Floats, Samples, read_softmax, undefined
from baselines.inputs.predictions import JointProbability, joint_mass, read_joint, rows_of_classes
from baselines.inputs.two_pass import SecondLookMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram


def iou_eep_score(softmax: Array, labels: Array, *, foreground: bool = False, balanced: bool = False) -> float:
    """Mean over classes of the IoU between the label and the class favoured by the expected empirical prediction.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> iou_eep_score(np.eye(2), np.array([1, 0]))
        1.0
    """
    return value_or_warn(iou_eep_from_samples(read_softmax(softmax, labels), foreground=foreground, balanced=balanced))


def iou_eep_from_samples(samples: Samples, *, foreground: bool = False, balanced: bool = False) -> Score:
    """IoU-EEP from validated samples; the arguments are those of `iou_eep_score`.

    Args:
        samples: softmax and labels.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score.
    """
    joint = read_joint(joint_mass(samples), foreground=foreground, balanced=balanced)
    return _score(joint, [(samples.rows, samples.labels)])


def iou_eep_from_softmax(
    histogram: JointHistogram,
    cases: Iterable[tuple[Array, Array]],
    *,
    foreground: bool = False,
    balanced: bool = False,
) -> Score:
    """IoU-EEP from a joint histogram and a second read of the softmax that it was computed from.

    Args:
        histogram: soft joint of the target's labels and the source's softmax.
        cases: (n, z) softmax and (n,) labels of each case.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score.
    """
    return _score(read_joint(histogram.soft, foreground=foreground, balanced=balanced), cases)


def _score(joint: JointProbability, cases: Iterable[tuple[Array, Array]]) -> Score:
    if joint.undefined:
        return undefined(joint.undefined)
    k = len(joint.classes)
    order = np.lexsort((joint.classes, -joint.weight))
    conditional = joint.conditional()[order].T
    confusion = np.zeros((k, k))
    for place, rows in rows_of_classes(joint, cases):
        confusion[place] += np.bincount(order[(rows @ conditional).argmax(axis=1)], minlength=k)
    count = confusion.sum(axis=1)
    if not count.all():
        return undefined(f"the stored softmax has no samples of classes {joint.classes[count == 0].tolist()}")
    return Score(_mean_iou(confusion / count[:, None] * joint.weight[:, None]), reason=joint.note)


def _mean_iou(confusion: Floats) -> float:
    both = np.diagonal(confusion)
    return float(np.mean(both / (confusion.sum(axis=0) + confusion.sum(axis=1) - both)))


class IoUEEP(SecondLookMetric):
    """IoU-EEP, computed in one pass and a second read of the softmax; arguments as in `iou_eep_score`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    name = "iou_eep"
    invariances: ClassVar[frozenset[str]] = frozenset({"duplication"})

    def _score(self, histogram: JointHistogram, cases: Iterable[tuple[Array, Array]]) -> Score:
        return iou_eep_from_softmax(histogram, cases, **self.options)
