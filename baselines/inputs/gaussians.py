"""Class moments as the estimates read them: float64 arrays of the classes that have samples.

Every estimate that needs no more than counts, means and scatters starts here, so that foreground, balance, empty
classes and values that are not finite are treated in one place.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from baselines.inputs.arrays import Array, Floats, Integers, read_samples, to_numpy
from benchmark.metric.standalone import MomentMetric
from benchmark.statistics import ClassMoments


@dataclass(frozen=True)
class ClassGaussians:
    """Counts, means and centred scatters of the classes with at least one sample.

    Attributes:
        classes: (k,) int64, the label of each class kept.
        count: (k,) float64, samples of each class, or weights that sum to the samples when classes are balanced.
        mean: (k, d) float64.
        scatter: (k, d, d) float64, sum of (x - mean)(x - mean)'.
        cubes: (k, d) float64, sum of |x - mean|^2 (x - mean).
        quartics: (k,) float64, sum of |x - mean|^4.
        empty: labels without a sample, left out.
        undefined: why no estimate can be made of these moments, or "".
    """

    classes: Integers
    count: Floats
    mean: Floats
    scatter: Floats
    cubes: Floats
    quartics: Floats
    empty: tuple[int, ...]
    undefined: str

    @property
    def n(self) -> float:
        """Number of samples (or sum of their weights)."""
        return float(self.count.sum())

    @property
    def prior(self) -> Floats:
        """(k,) share of each class."""
        return self.count / self.n

    @property
    def note(self) -> str:
        """What was left out, for the reason of a score."""
        return f"classes without samples left out: {list(self.empty)}" if self.empty else ""

    def total_mean(self) -> Floats:
        """(d,) mean of all samples."""
        return self.prior @ self.mean

    def within(self) -> Floats:
        """(d, d) sum of the classes' scatters."""
        return np.asarray(self.scatter.sum(axis=0))

    def between(self) -> Floats:
        """(d, d) scatter of the class means about the total mean, each counted once per sample."""
        shift = (self.mean - self.total_mean()) * np.sqrt(self.count)[:, None]
        return np.asarray(shift.T @ shift)

    def total_quartics(self) -> float:
        """Sum over all samples of |x - total mean|^4, exact from the class moments."""
        shift = self.mean - self.total_mean()
        square = np.einsum("cd,cd->c", shift, shift)
        along = np.einsum("cd,cde,ce->c", shift, self.scatter, shift)
        spread = np.trace(self.scatter, axis1=1, axis2=2)
        crossed = np.einsum("cd,cd->c", self.cubes, shift)
        return float(np.sum(self.quartics + 4 * crossed + 4 * along + 2 * spread * square + self.count * square**2))


def sample_moments(features: Array, labels: Array) -> ClassMoments:
    """The class moments of checked samples: what the sample door of an estimate hands to its statistics door.

    Args:
        features: (n, d) real numbers.
        labels: (n,) integers, 0 .. k - 1.

    Returns:
        Moments of k = max(labels) + 1 classes.

    Raises:
        ValueError: if a shape or a type is wrong.
    """
    samples = read_samples(features, labels)
    return ClassMoments.from_samples(torch.as_tensor(samples.rows), torch.as_tensor(samples.labels), max(samples.k, 1))


def read_moments(moments: ClassMoments, *, foreground: bool = False, balanced: bool = False) -> ClassGaussians:
    """The classes of some moments that take part in an estimate.

    Args:
        moments: class moments of k classes in d dimensions.
        foreground: leave out class 0.
        balanced: weight the samples so that every class counts alike.

    Returns:
        The classes with samples; `undefined` says why they allow no estimate, if so.

    Example:
        >>> from benchmark.statistics import ClassMoments
        >>> moments = ClassMoments.from_samples(np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 2]), 3)
        >>> kept = read_moments(moments, balanced=True)
        >>> kept.classes.tolist(), kept.count.tolist(), kept.scatter.ravel().tolist()
        ([0, 2], [1.5, 1.5], [1.5, 0.0])
    """
    count, mean, scatter, cubes, quartics = (
        _as_float64(getattr(moments, name)) for name in ("count", "mean", "scatter", "cubes", "quartics")
    )
    first = 1 if foreground else 0
    kept = np.array([label for label in range(first, len(count)) if count[label] > 0], dtype=np.int64)
    empty = tuple(label for label in range(first, len(count)) if count[label] == 0)
    weight = np.ones(len(kept))
    if balanced and len(kept):
        weight = count[kept].sum() / (len(kept) * count[kept])
    return ClassGaussians(
        classes=kept,
        count=count[kept] * weight,
        mean=mean[kept],
        scatter=scatter[kept] * weight[:, None, None],
        cubes=cubes[kept] * weight[:, None],
        quartics=quartics[kept] * weight,
        empty=empty,
        undefined=_why_undefined(mean[kept], scatter[kept], kept),
    )


def project(gaussians: ClassGaussians, components: int) -> ClassGaussians:
    """The moments of the first principal components of all samples.

    Cubes and quartics do not survive a projection and become NaN.

    Args:
        gaussians: moments in d dimensions.
        components: dimensions to keep, at most d.

    Returns:
        The moments in `components` dimensions.
    """
    _, vectors = np.linalg.eigh(gaussians.within() + gaussians.between())
    basis = vectors[:, ::-1][:, :components]
    mean = (gaussians.mean - gaussians.total_mean()) @ basis
    return ClassGaussians(
        classes=gaussians.classes,
        count=gaussians.count,
        mean=mean,
        scatter=basis.T @ gaussians.scatter @ basis,
        cubes=np.full_like(mean, np.nan),
        quartics=np.full_like(gaussians.count, np.nan),
        empty=gaussians.empty,
        undefined=gaussians.undefined,
    )


class WeightedMomentMetric(MomentMetric):
    """Base of the estimates of class moments: what `read_moments` takes are options of each.

    Args:
        foreground: leave out class 0.
        balanced: equal weight to classes.
        layer: -1 the input of the finest segmentation head.
    """

    def __init__(self, *, foreground: bool = False, balanced: bool = False, layer: int = -1) -> None:
        super().__init__(layer=layer)
        self.options: dict[str, Any] = {"foreground": foreground, "balanced": balanced}


def _as_float64(values: Array) -> Floats:
    return to_numpy(values).astype(np.float64, copy=False)


def _why_undefined(mean: Floats, scatter: Floats, classes: Integers) -> str:
    if len(classes) == 0:
        return "no samples"
    if len(classes) == 1:
        return f"only class {classes[0]} has samples: a score needs two classes"
    variance = np.diagonal(scatter, axis1=1, axis2=2)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(mean).all(axis=0) & np.isfinite(variance).all(axis=0))
    if not finite.all():
        return f"{int((~finite).sum())} of {len(finite)} channels hold NaN or inf"
    return ""
