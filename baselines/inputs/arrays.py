"""Validation of the arrays that estimates take, and undefined scores."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.metric.score import Score

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
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


def read_rows(rows: Array, *, name: str = "features") -> Floats:
    """Validate a table of numbers and convert it to float64.

    Args:
        rows: (n, d) real numbers, numpy or torch.
        name: name of the argument in error messages.

    Returns:
        (n, d) float64, a view where possible.

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
    """Validate labels and convert them to int64.

    Args:
        labels: (n,) integers, 0 .. k - 1, numpy or torch.
        n: expected number of labels.
        name: name of the argument in error messages.

    Returns:
        (n,) int64.

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
    """Validate features (or predictions) with their labels.

    Args:
        rows: (n, d) real numbers, numpy or torch.
        labels: (n,) integers, 0 .. k - 1.
        name: name of `rows` in error messages.

    Returns:
        The validated samples; `undefined` gives the reason if no score can be computed from them.

    Raises:
        ValueError: as `read_rows` and `read_labels`.

    Example:
        >>> read_samples(np.array([[0.0, np.nan], [1.0, 2.0]]), np.array([0, 1])).undefined
        '1 of 2 channels hold NaN or inf'
    """
    table = read_rows(rows, name=name)
    target = read_labels(labels, len(table))
    return Samples(rows=table, labels=target, undefined=_why_undefined(table, target))


def read_softmax(softmax: Array, labels: Array) -> Samples:
    """Validate a source's softmax with the target's labels.

    Args:
        softmax: (n, z) probabilities; each row sums to 1.
        labels: (n,) integers, 0 .. k - 1.

    Returns:
        The validated samples.

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


def undefined(reason: str) -> Score:
    """Undefined score (NaN) with its reason."""
    return Score(float("nan"), reason=reason)


def to_numpy(values: Array) -> NDArray[Any]:
    """Convert an array or tensor to numpy, without a copy where possible."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    plain = values.detach().cpu()
    return (plain.float() if plain.dtype is torch.bfloat16 else plain).numpy()  # numpy has no bfloat16


def _why_undefined(rows: Floats, labels: Integers) -> str:
    if len(labels) == 0:
        return "no samples"
    if labels.min() == labels.max():
        return f"only class {labels[0]} has samples: a score needs two classes"
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(axis=0))
    if not finite.all():
        return f"{int((~finite).sum())} of {len(finite)} channels hold NaN or inf"
    return ""
