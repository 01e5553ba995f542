"""IoU-EEP: intersection over union of the label with the class that the expected empirical prediction favours.

    e_ic = sum_z P(c given z) p_iz,   prediction_i = argmax_c e_ic,   IoU-EEP = mean_c |y = c and prediction = c| / |y
    = c or prediction = c|

Higher is better; it lies in [0, 1]. Two looks at the source's softmax: the joint first, then an argmax per sample. Of
equally favoured classes the one with more samples is predicted.

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
    """Mean over classes of the IoU of the most expected class.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: equal weight to classes.

    Returns:
        A number in [0, 1]; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument breaks its rule.

    Example:
        >>> iou_eep_score(np.eye(2), np.array([1, 0]))
        1.0
    """
    return value_or_warn(iou_eep_from_samples(read_softmax(softmax, labels), foreground=foreground, balanced=balanced))


def iou_eep_from_samples(samples: Samples, *, foreground: bool = False, balanced: bool = False) -> Score:
    """IoU-EEP of checked samples; the arguments are those of `iou_eep_score`.

    Args:
        samples: softmax and labels.
        foreground: leave out class 0.
        balanced: equal weight to classes.

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
    """IoU-EEP of a joint histogram and a second look at the softmax that it was made of.

    Args:
        histogram: soft joint of the target's labels and the source's softmax.
        cases: (n, z) softmax and (n,) labels of each case.
        foreground: leave out class 0.
        balanced: equal weight to classes.

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
        return undefined(f"the second look holds no sample of classes {joint.classes[count == 0].tolist()}")
    return Score(_mean_iou(confusion / count[:, None] * joint.weight[:, None]), reason=joint.note)


def _mean_iou(confusion: Floats) -> float:
    both = np.diagonal(confusion)
    return float(np.mean(both / (confusion.sum(axis=0) + confusion.sum(axis=1) - both)))


class IoUEEP(SecondLookMetric):
    """IoU-EEP as a metric of one pass and a second look; arguments as `iou_eep_score`.

    Args:
        foreground: leave out class 0.
        balanced: equal weight to classes.
    """

    name = "iou_eep"
    invariances: ClassVar[frozenset[str]] = frozenset({"duplication"})

    def _score(self, histogram: JointHistogram, cases: Iterable[tuple[Array, Array]]) -> Score:
        return iou_eep_from_softmax(histogram, cases, **self.options)
