"""What a simulation measures over its pools: shares, means and coverages, with their standard errors and bounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.intervals import ROUNDING, Interval

Array = NDArray[np.float64]
Bounds = Sequence[float]  # minimum and maximum
NOTHING = float("nan")
COMPARISON: Bounds = (NOTHING, NOTHING)  # nothing is required
SIGNIFICANT = 0.05
TRUE_POOLS = 20_000  # pools for a true value, whose standard error then is below 0.003


@dataclass(frozen=True)
class Effort:
    """How much is drawn.

    Attributes:
        pools: The number of pools of each setting.
        resamples: The number of bootstrap resamples of each pool.
        permutations: The number of permutations of each pool.
    """

    pools: int
    resamples: int
    permutations: int


@dataclass(frozen=True)
class Quantity:
    """A number that a simulation measures.

    Attributes:
        quantity: Its name.
        value: Its value; NaN if it is defined in no pool.
        error: Its standard error over pools; NaN if unknown.
        low: The minimum that is required; NaN if it is shown for comparison only.
        high: The maximum that is required; NaN if it is shown for comparison only.
        reason: Why it is undefined in some pools, or "".
    """

    quantity: str
    value: float
    error: float = NOTHING
    low: float = NOTHING
    high: float = NOTHING
    reason: str = ""

    @property
    def required(self) -> bool:
        """Whether it has bounds."""
        return not np.isnan(self.low)

    @property
    def met(self) -> bool:
        """Whether it is within its bounds, or has none."""
        return not self.required or self.low <= self.value <= self.high


Part = Callable[[Effort, np.random.Generator], list[Quantity]]


class Simulation(Protocol):
    """A simulation, one part for each of its settings."""

    def parts(self) -> Mapping[str, Part]:
        """Setting -> the function that simulates its pools."""


def share(quantity: str, happened: Array, bounds: Bounds = COMPARISON, *, reason: str = "") -> Quantity:
    """The share of pools in which something happened.

    Args:
        quantity: Its name.
        happened: (pools,) float64: 1 if it happened, 0 if it did not, NaN if that is undefined.
        bounds: What is required.
        reason: Why it is undefined in some pools.

    Returns:
        The share of the defined pools. Its standard error (Agresti and Coull 1998) is never 0.

    Example:
        >>> result = share("coverage", np.array([1.0, 1.0, 0.0, 1.0]))
        >>> result.value, round(result.error, 2)
        (0.75, 0.17)
    """
    known = happened[np.isfinite(happened)]
    if missing := happened.size - known.size:
        reason = f"undefined in {missing} of {happened.size} pools" + (f": {reason}" if reason else "")
    near = (known.sum() + 2) / (known.size + 4)
    error = float(np.sqrt(near * (1 - near) / (known.size + 4)))
    return Quantity(quantity, float(known.mean()) if known.size else NOTHING, error, bounds[0], bounds[1], reason)


def mean(quantity: str, values: Array, bounds: Bounds = COMPARISON) -> Quantity:
    """The mean over pools, with its standard error.

    Args:
        quantity: Its name.
        values: (pools,) float64.
        bounds: What is required.
    """
    error = float(values.std() / np.sqrt(values.size))
    return Quantity(quantity, float(values.mean()), error, bounds[0], bounds[1])


def rejections(quantity: str, p: Sequence[float], bounds: Bounds = COMPARISON) -> Quantity:
    """The share of pools with p <= 0.05.

    Args:
        quantity: What the p-values are of.
        p: (pools,) the p-values, NaN where undefined.
        bounds: What is required.
    """
    values = np.array(p)
    return share(f"p <= 0.05, {quantity}", np.where(np.isnan(values), NOTHING, values <= SIGNIFICANT), bounds)


def coverage(quantity: str, intervals: Sequence[Interval], truth: float, bounds: Bounds = COMPARISON) -> Quantity:
    """The share of intervals that contain the true value.

    Args:
        quantity: What the intervals are of.
        intervals: (pools,) the intervals.
        truth: The true value.
        bounds: What is required where intervals are given.

    Returns:
        The coverage of the intervals that are given; NaN with the reason, and without bounds, if none is.
    """
    name, reasons = f"coverage, {quantity}", [interval.reason for interval in intervals if interval.reason]
    if len(reasons) == len(intervals):
        return Quantity(name, NOTHING, reason=f"none is given: {reasons[0]}")
    inside = [
        NOTHING if interval.reason else float(interval.low - ROUNDING <= truth <= interval.high + ROUNDING)
        for interval in intervals
    ]
    return share(name, np.array(inside), bounds, reason=reasons[0] if reasons else "")


def source_names(n: int) -> list[str]:
    """Names of n sources whose alphabetical order is their order in a pool.

    Example:
        >>> source_names(2)
        ['000', '001']
    """
    return [f"{place:03d}" for place in range(n)]
