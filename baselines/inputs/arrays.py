"""Validation of the arrays that estimates take, and the reasons for which they allow no score."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Booleans: TypeAlias = NDArray[np.bool_]
Array: TypeAlias = NDArray[Any] | Tensor

# Rounding of float16 probabilities, summed over a few hundred classes
ROW_SUM_TOLERANCE = 0.01


@dataclass(frozen=True)
class Samples:
    """Validated samples of one target.

    Attributes:
        rows: (n, d) float64, features, softmax or logits.
        labels: (n,) int64 in 0 .. k - 1.
        undefined: why no score can be computed from them, or "".
    """

    rows: Floats
    labels: Integers
    undefined: str

    @property
    def k(self) -> int:
        """Number of classes, the largest label plus 1."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0


@dataclass(frozen=True)
class PresentClasses:
    """The classes of a statistic that have samples.

    Attributes:
        classes: (k,) int64, the label of each class kept.
        empty: labels without samples, left out.
        undefined: why no score can be computed from them, or "".
    """

    classes: Integers
    empty: tuple[int, ...]
    undefined: str

    @property
    def note(self) -> str:
        """Note on empty classes, for the reason of a score."""
        return left_out(self.empty)


@dataclass(kw_only=True, eq=False)
class ClassWeights:
    """Parameters of the estimates that weight classes.

    Attributes:
        foreground: leave out class 0.
        balanced: give every class the same weight.
    """

    foreground: bool = False
    balanced: bool = False


def read_rows(rows: Array, *, name: str = "features") -> Floats:
    """Convert a table of real numbers (n, d), called `name` in messages, to float64, without a copy where possible.

    Raises:
        ValueError: if the shape is not (n, d) or the numbers are not real.

    Example:
        >>> read_rows(np.zeros(3))
        Traceback (most recent call last):
        ValueError: `features` must be real numbers of shape (n, d), got float64 (3,)
    """
    array = to_numpy(rows)
    if array.ndim != 2 or array.shape[1] == 0 or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise ValueError(f"`{name}` must be real numbers of shape (n, d), got {array.dtype} {array.shape}")
    return array.astype(np.float64, copy=False)


def read_labels(labels: Array, n: int, *, name: str = "labels") -> Integers:
    """Convert n labels, called `name` in messages, to int64.

    Raises:
        ValueError: if they are not n integers, or a label is negative.

    Example:
        >>> read_labels(np.array([[0.0], [1.0]]), 2)
        Traceback (most recent call last):
        ValueError: `labels` must be integers of shape (2,), got float64 (2, 1)
    """
    array = to_numpy(labels)
    if array.shape != (n,) or not (np.issubdtype(array.dtype, np.integer) or array.dtype == np.bool_):
        raise ValueError(f"`{name}` must be integers of shape ({n},), got {array.dtype} {array.shape}")
    if n and array.min() < 0:
        raise ValueError(f"`{name}` must not be negative, got {array.min()}")
    return array.astype(np.int64, copy=False)


def read_samples(rows: Array, labels: Array, *, name: str = "features") -> Samples:
    """Validate rows (n, d), called `name` in messages, with their labels (n,).

    Raises:
        ValueError: as `read_rows` and `read_labels`.

    Example:
        >>> read_samples(np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0, 1])).undefined
        '1 of 2 channels hold NaN or inf'
    """
    table = read_rows(rows, name=name)
    target = read_labels(labels, len(table))
    some = target[:1] if len(target) and target.min() == target.max() else target
    return Samples(rows=table, labels=target, undefined=why_undefined(some, finite_columns(table)))


def read_softmax(softmax: Array, labels: Array) -> Samples:
    """Validate a source's softmax (n, z) with the target's labels (n,).

    Raises:
        ValueError: as `read_samples`, or if a probability is negative or a row does not sum to 1.

    Example:
        >>> read_softmax(np.array([[0.5, 0.4]]), np.array([0]))
        Traceback (most recent call last):
        ValueError: `softmax` must have rows that sum to 1 within 0.01, got a row of sum 0.9
    """
    samples = read_samples(softmax, labels, name="softmax")
    if np.isfinite(samples.rows).all() and len(samples.rows):
        if samples.rows.min() < 0:
            raise ValueError(f"`softmax` must not be negative, got {samples.rows.min():.6g}")
        sums = samples.rows.sum(axis=1)
        worst = float(sums[np.abs(sums - 1).argmax()])
        if abs(worst - 1) > ROW_SUM_TOLERANCE:
            raise ValueError(
                f"`softmax` must have rows that sum to 1 within {ROW_SUM_TOLERANCE}, got a row of sum {worst:.6g}"
            )
    return samples


def to_numpy(values: Array) -> NDArray[Any]:
    """Convert an array or tensor to numpy, without a copy where possible."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    plain = values.detach().cpu()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()  # numpy has no bfloat16


def present(count: Floats, *, foreground: bool) -> tuple[Integers, tuple[int, ...]]:
    """Labels (k,) with a count, and those without; class 0 is in neither for `foreground`."""
    labels = np.arange(1 if foreground else 0, len(count), dtype=np.int64)
    return labels[count[labels] != 0], tuple(labels[count[labels] == 0].tolist())


def left_out(empty: tuple[int, ...]) -> str:
    """Note that classes have no samples, or "" if all have."""
    return f"classes without samples left out: {list(empty)}" if empty else ""


def finite_columns(rows: Floats) -> Booleans:
    """Whether all values in each column of rows (n, d) are finite, (d,)."""
    return np.asarray(np.isfinite(rows).all(axis=0))


def not_finite(finite: Booleans, columns: str = "channels") -> str:
    """Reason that some columns are not finite, or ""."""
    return "" if finite.all() else f"{int((~finite).sum())} of {len(finite)} {columns} hold NaN or inf"


def why_undefined(classes: Integers, finite: Booleans) -> str:
    """Reason that samples of these classes allow no score, or ""."""
    if len(classes) == 0:
        return "no samples"
    if len(classes) == 1:
        return f"only class {classes[0]} has samples: a score needs two classes"
    return not_finite(finite)
