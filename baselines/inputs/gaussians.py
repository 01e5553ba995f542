"""Class moments for the estimates: float64 arrays of the classes that have samples.

Handles foreground, balancing, empty classes and non-finite values for every estimate based on class moments.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import torch

from baselines.inputs.arrays import (
    Array,
    ClassWeights,
    Floats,
    PresentClasses,
    finite_columns,
    present,
    read_samples,
    to_numpy,
    why_undefined,
)
from benchmark.metric.score import Score, undefined
from benchmark.metric.standalone import MomentMetric
from benchmark.statistics import ClassMoments


@dataclass(frozen=True)
class ClassGaussians(PresentClasses):
    """Counts, means and centred scatters of the classes with at least one sample.

    Attributes:
        count: (k,) float64, samples per class; when balanced, equal weights that sum to the number of samples.
        mean: (k, d) float64.
        scatter: (k, d, d) float64, sum of (x - mean)(x - mean)'.
        cubes: (k, d) float64, sum of |x - mean|^2 (x - mean).
        quartics: (k,) float64, sum of |x - mean|^4.
    """

    count: Floats
    mean: Floats
    scatter: Floats
    cubes: Floats
    quartics: Floats

    @property
    def n(self) -> float:
        """Number of samples (or sum of their weights)."""
        return float(self.count.sum())

    @property
    def prior(self) -> Floats:
        """Share of each class, (k,)."""
        return self.count / self.n

    def total_mean(self) -> Floats:
        """Mean of all samples, (d,)."""
        return self.prior @ self.mean

    def within(self) -> Floats:
        """Within-class scatter (d, d): the sum over classes."""
        return np.asarray(self.scatter.sum(axis=0))

    def between(self) -> Floats:
        """Between-class scatter (d, d) of the class means about the total mean, weighted by `count`."""
        shift = (self.mean - self.total_mean()) * np.sqrt(self.count)[:, None]
        return np.asarray(shift.T @ shift)

    def total_quartics(self) -> float:
        """Sum over all samples of |x - total mean|^4, computed exactly from the class moments."""
        shift = self.mean - self.total_mean()
        square = np.einsum("cd,cd->c", shift, shift)
        along = np.einsum("cd,cde,ce->c", shift, self.scatter, shift)
        spread = np.trace(self.scatter, axis1=1, axis2=2)
        crossed = np.einsum("cd,cd->c", self.cubes, shift)
        return float(np.sum(self.quartics + 4 * crossed + 4 * along + 2 * spread * square + self.count * square**2))


def sample_moments(features: Array, labels: Array) -> ClassMoments:
    """Moments of the k = max(labels) + 1 classes of features (n, d) with labels (n,).

    Raises:
        ValueError: if a shape or a type is wrong.
    """
    samples = read_samples(features, labels)
    return ClassMoments.from_samples(torch.as_tensor(samples.rows), torch.as_tensor(samples.labels), max(samples.k, 1))


def read_moments(moments: ClassMoments, *, foreground: bool = False, balanced: bool = False) -> ClassGaussians:
    """Select and weight the classes of class moments, as `ClassWeights` says.

    Example:
        >>> from benchmark.statistics import ClassMoments
        >>> moments = ClassMoments.from_samples(np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 2]), 3)
        >>> kept = read_moments(moments, balanced=True)
        >>> kept.classes.tolist(), kept.count.tolist(), kept.scatter.ravel().tolist()
        ([0, 2], [1.5, 1.5], [1.5, 0.0])
    """
    count, mean, scatter, cubes, quartics = (
        to_numpy(getattr(moments, name)).astype(np.float64, copy=False)
        for name in ("count", "mean", "scatter", "cubes", "quartics")
    )
    kept, empty = present(count, foreground=foreground)
    weight = np.ones(len(kept))
    if balanced and len(kept):
        weight = count[kept].sum() / (len(kept) * count[kept])
    variance = np.diagonal(scatter[kept], axis1=1, axis2=2)
    return ClassGaussians(
        classes=kept,
        count=count[kept] * weight,
        mean=mean[kept],
        scatter=scatter[kept] * weight[:, None, None],
        cubes=cubes[kept] * weight[:, None],
        quartics=quartics[kept] * weight,
        empty=empty,
        undefined=why_undefined(kept, finite_columns(mean[kept]) & finite_columns(variance)),
    )


def project(gaussians: ClassGaussians, components: int) -> ClassGaussians:
    """Project moments onto the first principal components (at most d) of all samples.

    Cubes and quartics are lost in a projection and become NaN.
    """
    _, vectors = np.linalg.eigh(gaussians.within() + gaussians.between())
    basis = vectors[:, ::-1][:, :components]
    mean = (gaussians.mean - gaussians.total_mean()) @ basis
    return replace(
        gaussians,
        mean=mean,
        scatter=basis.T @ gaussians.scatter @ basis,
        cubes=np.full_like(mean, np.nan),
        quartics=np.full_like(gaussians.count, np.nan),
    )


@dataclass(kw_only=True, eq=False)
class WeightedMomentMetric(ClassWeights, MomentMetric):
    """Base of the estimates computed from the weighted moments of the classes that have samples.

    Subclasses define `name` and `_estimate(gaussians)`.
    """

    @abstractmethod
    def _estimate(self, kept: ClassGaussians) -> Score:
        """Compute the score of at least two classes, in finite numbers."""

    def _score(self, samples: ClassMoments) -> Score:
        kept = read_moments(samples, foreground=self.foreground, balanced=self.balanced)
        return undefined(kept.undefined) if kept.undefined else self._estimate(kept)
