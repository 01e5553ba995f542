"""LEEP: the log-likelihood of the labels under the expected empirical prediction.

    LEEP = mean_i log sum_z P(y_i given z) p_iz,   P(c given z) from the soft joint J

Higher (closer to 0) is better. The source's softmax is read twice: once for the joint, once for a logarithm per sample.

Reference: Nguyen, Hassner, Seeger, Archambeau, "LEEP: A New Measure to Evaluate Transferability of Learned
Representations", ICML 2020, arXiv 2002.12462.

Deviation: a source class of probability zero is ignored; two of the released versions divide by zero and return NaN.
"""

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from baselines.inputs.arrays import Array, Samples, read_softmax, undefined
from baselines.inputs.predictions import JointProbability, joint_mass, read_joint, rows_of_classes
from baselines.inputs.two_pass import SecondLookMetric
from benchmark.metric.score import Score, value_or_warn
from benchmark.statistics import JointHistogram

# Floor of the true class's probability, so that half-precision underflow does not give log 0
LEAST = np.finfo(np.float64).tiny


def leep_score(softmax: Array, labels: Array, *, foreground: bool = False, balanced: bool = False) -> float:
    """Mean log expected empirical prediction of the true class.

    Args:
        softmax: (n, z) source probabilities.
        labels: (n,) integers, 0 .. k - 1.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        A number at most 0; NaN with an `UndefinedScoreWarning` where undefined.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> leep_score(np.eye(2), np.array([0, 1]))
        0.0
        >>> round(leep_score(np.ones((4, 1)), np.array([0, 0, 1, 1])) - float(np.log(0.5)), 12)
        0.0
    """
    samples = read_softmax(softmax, labels)
    return value_or_warn(leep_from_samples(samples, foreground=foreground, balanced=balanced))


def leep_from_samples(samples: Samples, *, foreground: bool = False, balanced: bool = False) -> Score:
    """LEEP from validated samples; the arguments are those of `leep_score`.

    Args:
        samples: softmax and labels.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The score.
    """
    joint = read_joint(joint_mass(samples), foreground=foreground, balanced=balanced)
    return _score(joint, [(samples.rows, samples.labels)])


def leep_from_softmax(
    histogram: JointHistogram,
    cases: Iterable[tuple[Array, Array]],
    *,
    foreground: bool = False,
    balanced: bool = False,
) -> Score:
    """LEEP from a joint histogram and a second read of the softmax that it was computed from.

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
    conditional = joint.conditional()
    count, total = np.zeros(len(joint.classes)), np.zeros(len(joint.classes))
    for place, rows in rows_of_classes(joint, cases):
        count[place] += len(rows)
        total[place] += np.log(np.maximum(rows @ conditional[place], LEAST)).sum()
    if not count.all():
        return undefined(f"the stored softmax has no samples of classes {joint.classes[count == 0].tolist()}")
    return Score(float(joint.weight @ (total / count)), reason=joint.note)


class LEEP(SecondLookMetric):
    """LEEP, computed in one pass and a second read of the softmax; arguments as in `leep_score`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    name = "leep"
    invariances: ClassVar[frozenset[str]] = frozenset({"duplication"})

    def _score(self, histogram: JointHistogram, cases: Iterable[tuple[Array, Array]]) -> Score:
        return leep_from_softmax(histogram, cases, **self.options)
