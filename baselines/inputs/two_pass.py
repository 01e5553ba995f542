"""Base class of the estimates that read the source's softmax twice: for the joint, then sample by sample."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch

from baselines.inputs.arrays import Array, read_softmax, undefined
from benchmark.metric.score import Score
from benchmark.statistics import JointHistogram, JointRequest, Request, SoftmaxRequest, Statistics


class SecondLookMetric(ABC):
    """Base of the estimates computed from the joint and the softmax; subclasses define `name` and `_score`.

    The network runs once: the second read uses the softmax that the pass stored on disk as float16.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    name: ClassVar[str]

    def __init__(self, *, foreground: bool = False, balanced: bool = False) -> None:
        self.options: dict[str, Any] = {"foreground": foreground, "balanced": balanced}
        self._samples: list[tuple[Array, Array]] = []

    @property
    def requires(self) -> tuple[Request, ...]:
        """The joint histogram, and the softmax of every voxel."""
        return JointRequest(), SoftmaxRequest()

    @abstractmethod
    def _score(self, histogram: JointHistogram, cases: Iterable[tuple[Array, Array]]) -> Score:
        """Compute the score from a joint and the (n, z) softmax and (n,) labels that it was computed from."""

    def compute(self, statistics: Statistics | None = None) -> Score:
        """Compute the score from the statistics of a pass, or from the samples given to `update`.

        Args:
            statistics: the statistics named by `requires`; None to use the samples given to `update`.

        Returns:
            The score.
        """
        if statistics is not None:
            joint, stored = self.requires
            return self._score(
                statistics[joint], ((block.softmax, block.labels) for block in statistics[stored].rows())
            )
        if not self._samples:
            return undefined("no samples")
        k = max(int(labels.max()) + 1 for _, labels in self._samples)
        histogram = JointHistogram(k, self._samples[0][0].shape[1])
        for softmax, labels in self._samples:
            histogram.add(softmax, labels)
        return self._score(histogram, self._samples)

    def update(self, softmax: Array, labels: Array) -> None:
        """Add samples; all of them are kept in memory.

        Args:
            softmax: (n, z) source probabilities, n at least 1.
            labels: (n,) integers in 0 .. k - 1.

        Raises:
            ValueError: if a shape, a type or a value is wrong, or z differs from before.
        """
        samples = read_softmax(softmax, labels)
        z = samples.rows.shape[1]
        if self._samples and self._samples[0][0].shape[1] != z:
            raise ValueError(f"`softmax` must have {self._samples[0][0].shape[1]} columns, got {z}")
        if len(samples.labels):
            self._samples.append((torch.as_tensor(samples.rows), torch.as_tensor(samples.labels)))

    def merge(self, other: Self) -> Self:
        """Add the samples of another metric.

        Args:
            other: a metric of the same class; not changed.

        Returns:
            This metric.
        """
        self._samples += other._samples
        return self

    def reset(self) -> None:
        """Remove all samples."""
        self._samples = []
