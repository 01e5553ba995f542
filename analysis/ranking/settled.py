"""Whether the order of the sources has settled: the agreement of the order by half of the cases with that by all.

The cases are split in their order, most classes and foreground first: every other one, and the rest, so that the halves
are alike. The order by all cases includes those of the half, so the two agree better than two sets of different cases.
The agreement of the two halves with each other has no case in common, but compares two orders by half as many cases.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.rank_measures import FEWEST_SOURCES, kendall
from analysis.ranking.order import STANDING, Scores, standing
from analysis.tables.number_format import counted, number

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Settled:
    """The agreement between orders of the sources (Kendall's tau-b); NaN where undefined.

    Attributes:
        with_all: Of the order by half of the cases with that by all.
        between_halves: Of the order by that half with that by the rest.
        cases: The number of all cases.
        reason: Why `with_all` is undefined; empty if it is not.
        left_out: The metrics of the standing that are not defined for a half, and count in none of the orders.
    """

    with_all: float
    between_halves: float
    cases: int
    reason: str = ""
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """The agreement in words."""
        if self.reason:
            return f"Whether the order has settled cannot be said: {self.reason}."
        half = -(-self.cases // 2)
        between = f"{number(self.between_halves)} with that by the other {self.cases - half}, which have none in common"
        if math.isnan(self.between_halves):
            between = f"not defined for the other {self.cases - half}"
        without = f"; without {', '.join(self.left_out)}, undefined for half of the cases" if self.left_out else ""
        return (
            f"Has the order settled? Kendall's tau of the order by half of the cases ({half}, every other one) with "
            f"that by all {self.cases}, which include them, is {number(self.with_all)}; {between}{without}."
        )

    def entry(self) -> dict[str, object]:
        """The agreement as plain data."""
        return asdict(self) | {"description": self.describe()}


def settled(scores: Scores, *, by: str = STANDING) -> Settled:
    """The agreement of the order by half of the cases with that by all.

    Args:
        scores: The scores of all sources by all metrics, with those by two halves of the cases.
        by: "standing" or a metric: what orders the sources.

    Example:
        >>> values, half = np.array([0.1, 0.3, 0.2]), np.array([[0.2, 0.3, 0.1], [0.1, 0.3, 0.2]])
        >>> scores = Scores(("a", "b", "c"), {"logme": values}, {}, "none", 4, {"logme": half})
        >>> found = settled(scores)
        >>> round(found.with_all, 3), round(found.between_halves, 3)
        (0.333, 0.333)
    """
    if scores.cases < 2:
        return _undefined(scores, f"{counted(scores.cases, 'case')}, at least 2 are needed")
    if len(scores.sources) < FEWEST_SOURCES:
        return _undefined(scores, f"{counted(len(scores.sources), 'source')}, at least {FEWEST_SOURCES} are needed")
    names = [name for name in scores.metrics if by in (STANDING, name)]
    defined = [name for name in names if _is_defined(scores.halves, name)]
    if not defined:
        return _undefined(scores, f"{by} is not defined for half of the cases")
    orders = [_order([scores.metrics[name] for name in defined], by)]
    orders += [_order([scores.halves[name][half] for name in defined], by) for half in range(2)]
    with_all, between = _agreement(orders[0], orders[1]), _agreement(orders[1], orders[2])
    reason = f"fewer than {FEWEST_SOURCES} sources have both scores, or all are equal" if math.isnan(with_all) else ""
    left_out = tuple(name for name in names if name not in defined)
    return Settled(with_all, between, scores.cases, reason, left_out)


def _undefined(scores: Scores, reason: str) -> Settled:
    return Settled(math.nan, math.nan, scores.cases, reason)


def _is_defined(halves: Mapping[str, Array], name: str) -> bool:
    return len(halves.get(name, ())) == 2 and bool(np.isfinite(halves[name][0]).any())


def _order(values: list[Array], by: str) -> Array:
    return standing(np.array(values)) if by == STANDING else values[0]


def _agreement(a: Array, b: Array) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    x, y = a[known], b[known]
    if len(x) < FEWEST_SOURCES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return kendall(x, y)
