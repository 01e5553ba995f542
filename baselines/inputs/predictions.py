"""The joint of a source's predictions and the target's labels, as the LEEP family reads it.

J (k, z) = mean over samples of onehot(y) p, p the source's softmax (soft joint) or its argmax as one-hot (hard joint);
P(c given z) = J(c, z) / sum_c J(c, z), and 0 where no sample gives z any probability: such a z never takes part.
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
    """A joint distribution over the classes that have samples.

    Attributes:
        classes: (k,) int64, the label of each class kept.
        weight: (k,) float64, share of each class.
        joint: (k, z) float64, sums to 1.
        empty: labels without a sample, left out.
        undefined: why no estimate can be made of it, or "".
    """

    classes: Integers
    weight: Floats
    joint: Floats
    empty: tuple[int, ...]
    undefined: str

    @property
    def note(self) -> str:
        """What was left out, for the reason of a score."""
        return f"classes without samples left out: {list(self.empty)}" if self.empty else ""

    def conditional(self) -> Floats:
        """(k, z) P(c given z), 0 where z has no probability."""
        marginal = self.joint.sum(axis=0)
        return np.asarray(np.divide(self.joint, marginal, out=np.zeros_like(self.joint), where=marginal > 0))


def read_joint(mass: Array, *, foreground: bool = False, balanced: bool = False) -> JointProbability:
    """The classes of a joint histogram that take part in an estimate.

    Args:
        mass: (k, z) sums over samples, soft or hard.
        foreground: leave out class 0.
        balanced: weight the samples so that every class counts alike.

    Returns:
        The normalised joint; `undefined` says why it allows no estimate, if so.

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
    """(k, z) sums of predictions over the samples of each class.

    Args:
        samples: softmax rows with their labels.
        hard: of the argmax instead of the softmax.

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
    """The joint of checked samples.

    Args:
        softmax: (n, z) probabilities.
        labels: (n,) integers, 0 .. k - 1.
        hard: of the argmax instead of the softmax.
        foreground: leave out class 0.
        balanced: equal weight to classes.

    Returns:
        The normalised joint.

    Raises:
        ValueError: if a shape or a value is wrong.
    """
    mass = joint_mass(read_softmax(softmax, labels), hard=hard)
    return read_joint(mass, foreground=foreground, balanced=balanced)


def rows_of_classes(joint: JointProbability, cases: Iterable[tuple[Array, Array]]) -> Iterator[tuple[int, Floats]]:
    """A second look at the softmax that a joint was made of, class by class.

    Args:
        joint: of the same samples.
        cases: (n, z) softmax and (n,) labels of each case.

    Yields:
        The place of a class in `joint.classes`, and the (n, z) softmax of its samples in one case.
    """
    for softmax, labels in cases:
        rows, target = to_numpy(softmax), to_numpy(labels)
        for place, label in enumerate(joint.classes):
            yield place, rows[target == label].astype(np.float64, copy=False)


class WeightedJointMetric(JointMetric):
    """Base of the estimates of the joint: what `read_joint` takes are their options.

    Args:
        foreground: leave out class 0.
        balanced: equal weight to classes.
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
