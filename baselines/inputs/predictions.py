"""Joint distribution of a source's predictions and the target's labels, for the LEEP family.

J (k, z) = mean over samples of onehot(y) p, p the source's softmax (soft joint) or its argmax as one-hot (hard joint);
P(c given z) = J(c, z) / sum_c J(c, z), and 0 where no sample gives z any probability, so that such a z is ignored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.inputs.arrays import Array, Floats, Integers, Samples, read_softmax, to_numpy
from benchmark.metric.standalone import JointMetric


@dataclass(frozen=True)
class JointProbability:
    """Joint distribution over the classes that have samples.

    Attributes:
        classes: (k,) int64, the label of each class kept.
        weight: (k,) float64, share of each class.
        joint: (k, z) float64, sums to 1.
        empty: labels without samples, left out.
        undefined: why no score can be computed from it, or "".
    """

    classes: Integers
    weight: Floats
    joint: Floats
    empty: tuple[int, ...]
    undefined: str

    @property
    def note(self) -> str:
        """Note on empty classes, for the reason of a score."""
        return f"classes without samples left out: {list(self.empty)}" if self.empty else ""

    def conditional(self) -> Floats:
        """P(c given z), (k, z); 0 where z has no probability."""
        marginal = self.joint.sum(axis=0)
        return np.asarray(np.divide(self.joint, marginal, out=np.zeros_like(self.joint), where=marginal > 0))


def read_joint(mass: Array, *, foreground: bool = False, balanced: bool = False) -> JointProbability:
    """Select, weight and normalise the classes of a joint histogram.

    Args:
        mass: (k, z) sums over samples, soft or hard.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The normalised joint; `undefined` gives the reason if no score can be computed from it.

    Example:
        >>> read_joint(np.array([[3.0, 0.0], [0.0, 1.0]])).joint.tolist()
        [[0.75, 0.0], [0.0, 0.25]]
        >>> read_joint(np.array([[3.0, 0.0], [0.0, 1.0]]), balanced=True).weight.tolist()
        [0.5, 0.5]
    """
    table = to_numpy(mass).astype(np.float64)
    count = table.sum(axis=1)
    first = 1 if foreground else 0
    kept = np.array([label for label in range(first, len(count)) if count[label] != 0], dtype=np.int64)
    empty = tuple(label for label in range(first, len(count)) if count[label] == 0)
    table, count = table[kept], count[kept]
    if reason := _why_undefined(table, kept):
        return JointProbability(kept, count, table, empty, reason)
    weight = np.full(len(kept), 1 / len(kept)) if balanced else count / count.sum()
    return JointProbability(kept, weight, table / count[:, None] * weight[:, None], empty, "")


def joint_mass(samples: Samples, *, hard: bool = False) -> Floats:
    """Sum predictions over the samples of each class.

    Args:
        samples: softmax rows with their labels.
        hard: sum the one-hot argmax instead of the softmax.

    Returns:
        (k, z) float64.
    """
    mass = np.zeros((max(samples.k, 1), samples.rows.shape[1]))
    if hard:
        np.add.at(mass, (samples.labels, samples.rows.argmax(axis=1)), 1.0)
        mass[:, ~np.isfinite(samples.rows).all(axis=0)] = np.nan
        return mass
    for label in np.unique(samples.labels):
        mass[label] = samples.rows[samples.labels == label].sum(axis=0)
    return mass


def softmax_joint(
    softmax: Array, labels: Array, *, hard: bool = False, foreground: bool = False, balanced: bool = False
) -> JointProbability:
    """Compute the joint distribution from arrays.

    Args:
        softmax: (n, z) probabilities.
        labels: (n,) integers, 0 .. k - 1.
        hard: use the one-hot argmax instead of the softmax.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The normalised joint.

    Raises:
        ValueError: if a shape or a value is wrong.
    """
    mass = joint_mass(read_softmax(softmax, labels), hard=hard)
    return read_joint(mass, foreground=foreground, balanced=balanced)


def rows_of_classes(joint: JointProbability, cases: Iterable[tuple[Array, Array]]) -> Iterator[tuple[int, Floats]]:
    """Read the softmax that a joint was computed from again, class by class.

    Args:
        joint: joint distribution of the same samples.
        cases: (n, z) softmax and (n,) labels of each case.

    Yields:
        The index of a class in `joint.classes`, and the (n, z) softmax of its samples in one case.
    """
    for softmax, labels in cases:
        rows, target = to_numpy(softmax), to_numpy(labels)
        for place, label in enumerate(joint.classes):
            yield place, rows[target == label].astype(np.float64, copy=False)


class WeightedJointMetric(JointMetric):
    """Base of the estimates computed from the joint, with the options of `read_joint`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    def __init__(self, *, foreground: bool = False, balanced: bool = False) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"foreground": foreground, "balanced": balanced}


def _why_undefined(table: Floats, classes: Integers) -> str:
    if len(classes) == 0:
        return "no samples"
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(table).all(axis=0))
    if not finite.all():
        return f"{int((~finite).sum())} of {len(finite)} source classes hold NaN or inf"
    if len(classes) == 1:
        return f"only class {classes[0]} has samples: a score needs two classes"
    return ""
