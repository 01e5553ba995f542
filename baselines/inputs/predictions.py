"""Joint distribution of a source's predictions and the target's labels, for the LEEP family.

J (k, z) = mean over samples of onehot(y) p, p the source's softmax (soft joint) or its argmax as one-hot (hard joint);
P(c given z) = J(c, z) / sum_c J(c, z), and 0 where no sample gives z any probability, so that such a z is ignored.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch

from baselines.inputs.arrays import (
    Array,
    ClassWeights,
    Floats,
    PresentClasses,
    Samples,
    finite_columns,
    not_finite,
    present,
    read_softmax,
    to_numpy,
    why_undefined,
)
from benchmark.metric.score import Score, undefined
from benchmark.metric.standalone import JointMetric, StandaloneMetric
from benchmark.statistics import (
    SOFTMAX,
    ExpectedPrediction,
    ExpectedPredictionRequest,
    JointHistogram,
    JointRequest,
    Request,
    Statistics,
    read_again,
)

Cases: TypeAlias = Iterable[tuple[Array, Array]]  # (n, z) softmax and (n,) labels of each case


@dataclass(frozen=True)
class JointProbability(PresentClasses):
    """Joint distribution over the classes that have samples.

    Attributes:
        weight: (k,) float64, share of each class.
        joint: (k, z) float64, sums to 1.
    """

    weight: Floats
    joint: Floats

    def conditional(self) -> Floats:
        """P(c given z), (k, z); 0 where z has no probability."""
        marginal = self.joint.sum(axis=0)
        return np.asarray(np.divide(self.joint, marginal, out=np.zeros_like(self.joint), where=marginal > 0))


def read_joint(mass: Array, *, foreground: bool = False, balanced: bool = False) -> JointProbability:
    """Select, weight (as `ClassWeights` says) and normalise the classes of sums (k, z) over samples, soft or hard.

    Example:
        >>> read_joint(np.array([[3.0, 0.0], [0.0, 1.0]])).joint.tolist()
        [[0.75, 0.0], [0.0, 0.25]]
        >>> read_joint(np.array([[3.0, 0.0], [0.0, 1.0]]), balanced=True).weight.tolist()
        [0.5, 0.5]
    """
    table = to_numpy(mass).astype(np.float64)
    count = table.sum(axis=1)
    kept, empty = present(count, foreground=foreground)
    table, count = table[kept], count[kept]
    finite = finite_columns(table)
    reason = not_finite(finite, "source classes") or why_undefined(kept, finite)
    weight = count
    if not reason:
        weight = np.full(len(kept), 1 / len(kept)) if balanced else count / count.sum()
        table = table / count[:, None] * weight[:, None]
    return JointProbability(classes=kept, weight=weight, joint=table, empty=empty, undefined=reason)


def joint_mass(samples: Samples, *, hard: bool = False) -> Floats:
    """Sum the softmax, or its one-hot argmax for `hard`, over the samples of each class, (k, z)."""
    mass = np.zeros((max(samples.k, 1), samples.rows.shape[1]))
    if hard:
        np.add.at(mass, (samples.labels, samples.rows.argmax(axis=1)), 1.0)
        mass[:, ~finite_columns(samples.rows)] = np.nan
        return mass
    for label in np.unique(samples.labels):
        mass[label] = samples.rows[samples.labels == label].sum(axis=0)
    return mass


def expected_prediction_request(joint: JointProbability) -> ExpectedPredictionRequest:
    """The request for the second look at the softmax that a joint was computed from, classes of most samples first."""
    order = np.lexsort((joint.classes, -joint.weight))
    conditional = joint.conditional()[order].tolist()
    return ExpectedPredictionRequest(tuple(joint.classes[order].tolist()), tuple(map(tuple, conditional)))


def read_members(softmaxes: Sequence[Array], labels: Array) -> list[Samples]:
    """Validate the softmax of each member of an ensemble of sources, at the same samples.

    Raises:
        ValueError: as `read_softmax`, or if there is no member.
    """
    if not len(softmaxes):
        raise ValueError("`softmaxes` must have at least one member, got 0")
    return [read_softmax(softmax, labels) for softmax in softmaxes]


@dataclass(kw_only=True, eq=False)
class WeightedJointMetric(ClassWeights, JointMetric):
    """Base of the estimates computed from the joint; subclasses define `name` and `_estimate(joint)`.

    Attributes:
        hard: whether the joint is that of the argmax.
    """

    hard = False

    @abstractmethod
    def _estimate(self, joint: JointProbability) -> Score:
        """Compute the score of at least two classes, in finite numbers."""

    def _score(self, samples: JointHistogram) -> Score:
        return self._of_mass(samples.hard if self.hard else samples.soft)

    def _of_softmax(self, softmax: Array, labels: Array) -> Score:
        return self._of_mass(joint_mass(read_softmax(softmax, labels), hard=self.hard))

    def _of_mass(self, mass: Array) -> Score:
        joint = read_joint(mass, foreground=self.foreground, balanced=self.balanced)
        return undefined(joint.undefined) if joint.undefined else self._estimate(joint)


@dataclass(frozen=True)
class GivenSoftmax:
    """Softmax that is at hand, or that can be read once more.

    Attributes:
        cases: softmax and labels of each case.
        histogram: their joint; None if it is yet to be computed.
    """

    cases: Cases
    histogram: JointHistogram | None = None

    @property
    def mass(self) -> Array:
        """The soft sums (k, z) of the joint."""
        return (_histogram(self.cases) if self.histogram is None else self.histogram).soft

    def second_look(self, request: ExpectedPredictionRequest) -> ExpectedPrediction:
        """Read the softmax again."""
        sums = ExpectedPrediction(request.classes, request.conditional)
        for softmax, labels in self.cases:
            sums.add(softmax, labels)
        return sums


@dataclass(frozen=True)
class PassSoftmax:
    """The softmax of a pass over the target.

    Attributes:
        statistics: the joint histogram, and the sums of the second look or the stored softmax.
    """

    statistics: Statistics

    @property
    def mass(self) -> Array:
        """The soft sums (k, z) of the joint."""
        histogram: JointHistogram = self.statistics[JointRequest()]
        return histogram.soft

    def second_look(self, request: ExpectedPredictionRequest) -> ExpectedPrediction:
        """Look up the sums, or read the stored softmax again."""
        known = self.statistics
        looks: Mapping[Request, Any] = known if request in known else read_again(known[SOFTMAX].rows(), [request])
        sums: ExpectedPrediction = looks[request]
        return sums


Softmax: TypeAlias = GivenSoftmax | PassSoftmax


@dataclass(kw_only=True, eq=False)
class SecondLookMetric(ClassWeights, StandaloneMetric[Softmax]):
    """Base of the estimates that read the softmax twice; subclasses define `name` and `_estimate(joint, sums)`.

    The second look reads the softmax that the pass stored on disk, or it is a second forward pass.
    """

    @property
    def requires(self) -> tuple[Request, ...]:
        """The joint histogram, and the softmax of every voxel, which sources of many classes do not store."""
        return JointRequest(), SOFTMAX

    def second_look(self, statistics: Statistics) -> ExpectedPredictionRequest | None:
        """The request for the second look, from the joint of the complete first pass; None where undefined."""
        joint = self._joint(PassSoftmax(statistics).mass)
        return None if joint.undefined else expected_prediction_request(joint)

    @abstractmethod
    def _estimate(self, joint: JointProbability, sums: ExpectedPrediction) -> Score:
        """Compute the score from a joint of at least two classes and the sums of the second look.

        Args:
            joint: the joint, with its classes in the order of `sums`.
            sums: the sums of the second look; each class has samples.
        """

    def update(self, softmax: Array, labels: Array) -> None:
        """Add samples; all of them are kept in memory.

        Args:
            softmax: (n, z) source probabilities, n at least 1.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape, a type or a value is wrong, or z differs from before.
        """
        samples = read_softmax(softmax, labels)
        if len(samples.labels):
            self._add(GivenSoftmax([(torch.as_tensor(samples.rows), torch.as_tensor(samples.labels))]))

    def _from_pass(self, statistics: Statistics) -> Softmax:
        return PassSoftmax(statistics)

    def _union(self, a: Softmax, b: Softmax) -> Softmax:
        assert isinstance(a, GivenSoftmax)
        assert isinstance(b, GivenSoftmax)
        cases = [*a.cases, *b.cases]
        z = cases[0][0].shape[1]
        if other := [softmax.shape[1] for softmax, _ in cases if softmax.shape[1] != z]:
            raise ValueError(f"`softmax` must have {z} columns, got {other[0]}")
        return GivenSoftmax(cases)

    def _score(self, samples: Softmax) -> Score:
        return self._of_mass(samples.mass, samples)

    def _of_samples(self, samples: Samples) -> Score:
        return self._of_mass(joint_mass(samples), GivenSoftmax([(samples.rows, samples.labels)]))

    def _joint(self, mass: Array) -> JointProbability:
        return read_joint(mass, foreground=self.foreground, balanced=self.balanced)

    def _of_mass(self, mass: Array, softmax: Softmax) -> Score:
        joint = self._joint(mass)
        if joint.undefined:
            return undefined(joint.undefined)
        request = expected_prediction_request(joint)
        sums = softmax.second_look(request)
        if not sums.count.all():
            empty = [label for label, count in zip(sums.classes, sums.count.tolist(), strict=True) if not count]
            return undefined(f"the second look at the softmax has no samples of classes {sorted(empty)}")
        order = np.searchsorted(joint.classes, request.classes)
        ordered = replace(joint, classes=joint.classes[order], weight=joint.weight[order], joint=joint.joint[order])
        return self._estimate(ordered, sums)


def _histogram(cases: Cases) -> JointHistogram:
    shapes = [(int(labels.max()) + 1, softmax.shape[1]) for softmax, labels in cases]
    histogram = JointHistogram(max(k for k, _ in shapes), shapes[0][1])
    for softmax, labels in cases:
        histogram.add(softmax, labels)
    return histogram
