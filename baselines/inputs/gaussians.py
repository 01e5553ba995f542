"""Class moments for the estimates: float64 arrays of the classes that have samples.

Handles foreground, balancing, empty classes and non-finite values for every estimate based on class moments.
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
        count: (k,) float64, samples per class; when balanced, equal weights that sum to the number of samples.
        mean: (k, d) float64.
        scatter: (k, d, d) float64, sum of (x - mean)(x - mean)'.
        cubes: (k, d) float64, sum of |x - mean|^2 (x - mean).
        quartics: (k,) float64, sum of |x - mean|^4.
        empty: labels without samples, left out.
        undefined: why no score can be computed from these moments, or "".
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
        """Share of each class, (k,)."""
        return self.count / self.n

    @property
    def note(self) -> str:
        """Note on empty classes, for the reason of a score."""
        return f"classes without samples left out: {list(self.empty)}" if self.empty else ""

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
    """Compute class moments from arrays.

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
    """Select and weight the classes of class moments for an estimate.

    Args:
        moments: class moments of k classes in d dimensions.
        foreground: leave out class 0.
        balanced: give every class the same weight.

    Returns:
        The classes with samples; `undefined` gives the reason if no score can be computed from them.

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
    """Project moments onto the first principal components of all samples.

    Cubes and quartics are lost in a projection and become NaN.

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
    """Base of the estimates computed from class moments, with the options of `read_moments`.

    Args:
        foreground: leave out class 0.
        balanced: give every class the same weight.
        layer: tapped layer; -1 is the input of the finest segmentation head.
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
