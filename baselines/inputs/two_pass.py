"""Base of the estimates that look at the source's softmax twice: once for the joint, once sample by sample."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch

from baselines.inputs.arrays import Array, read_softmax, undefined
from benchmark.metric.score import Score
from benchmark.statistics import JointHistogram, JointRequest, Request, SoftmaxRequest, Statistics


class SecondLookMetric(ABC):
    """An estimate of the joint and the softmax: a subclass has `name` and `_score(histogram, cases)`.

    The network runs once: the second look reads the softmax that the pass kept on disk as float16.

    Args:
        foreground: leave out class 0.
        balanced: equal weight to classes.
    """

    name: ClassVar[str]

    def __init__(self, *, foreground: bool = False, balanced: bool = False) -> None:
        self.options: dict[str, Any] = {"foreground": foreground, "balanced": balanced}
        self._held: list[tuple[Array, Array]] = []

    @property
    def requires(self) -> tuple[Request, ...]:
        """The joint, and the softmax of every voxel."""
        return JointRequest(), SoftmaxRequest()

    @abstractmethod
    def _score(self, histogram: JointHistogram, cases: Iterable[tuple[Array, Array]]) -> Score:
        """The score of a joint and of the (n, z) softmax and (n,) labels that it was made of."""

    def compute(self, statistics: Statistics | None = None) -> Score:
        """The score of a pass over a target, or without an argument of the samples updated with.

        Args:
            statistics: what `requires` asks for; None for the samples.

        Returns:
            The score.
        """
        if statistics is not None:
            joint, stored = self.requires
            return self._score(
                statistics[joint], ((block.softmax, block.labels) for block in statistics[stored].rows())
            )
        if not self._held:
            return undefined("no samples")
        k = max(int(labels.max()) + 1 for _, labels in self._held)
        histogram = JointHistogram(k, self._held[0][0].shape[1])
        for softmax, labels in self._held:
            histogram.add(softmax, labels)
        return self._score(histogram, self._held)

    def update(self, softmax: Array, labels: Array) -> None:
        """Take in samples; all of them are kept.

        Args:
            softmax: (n, z) source probabilities, n at least 1.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape, a type or a value is wrong, or z differs from before.
        """
        samples = read_softmax(softmax, labels)
        z = samples.rows.shape[1]
        if self._held and self._held[0][0].shape[1] != z:
            raise ValueError(f"`softmax` must have {self._held[0][0].shape[1]} columns, got {z}")
        if len(samples.labels):
            self._held.append((torch.as_tensor(samples.rows), torch.as_tensor(samples.labels)))

    def merge(self, other: Self) -> Self:
        """Take in the samples that another metric was updated with.

        Args:
            other: of the same class; not changed.

        Returns:
            This metric.
        """
        self._held += other._held
        return self

    def reset(self) -> None:
        """Forget all samples."""
        self._held = []
