"""One side of a pool of many sources, its scores or its Dice, with all that the measures need of its order.

s_ij = sign(v_i - v_j); sums_i is the sum of s_ij over j; w_i is 1 / (1 + rank), the best rank being 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Signs = NDArray[np.float32]  # -1, 0 and 1 are exact, and half the memory is half the time


@dataclass(frozen=True)
class Ranked:
    """One side of a large pool, prepared once for all that it is compared with.

    Attributes:
        values: (n,) float64, finite: scores or Dice.
    """

    values: Array

    @cached_property
    def signs(self) -> Signs:
        """(n, n) sign(v_i - v_j)."""
        return np.sign(self.values[:, None] - self.values[None, :]).astype(np.float32)

    @cached_property
    def sums(self) -> Array:
        """(n,) how many sources are below minus how many above."""
        order = np.sort(self.values)
        below = np.searchsorted(order, self.values, side="left")
        above = len(order) - np.searchsorted(order, self.values, side="right")
        return (below - above).astype(np.float64)

    @cached_property
    def untied(self) -> Signs:
        """(n, n) 1 where two sources differ, 0 where they are tied."""
        return np.abs(self.signs)

    @cached_property
    def tied(self) -> bool:
        """Whether two sources are level."""
        return len(np.unique(self.values)) < len(self.values)

    @cached_property
    def pull(self) -> Array:
        """(n,) w_i sums_i + sum_j w_j sign_ij, w the mean of 1 / (1 + rank) over tied sources."""
        group, size, total = self._levels
        above = total.cumsum() - total
        below = total.sum() - total - above
        pull: Array = (total / size)[group] * self.sums + (below - above)[group]
        return pull

    @cached_property
    def weight(self) -> float:
        """The sum over ordered pairs that are not tied of the weight of the first."""
        group, size, total = self._levels
        return float((total * (len(group) - size)).sum())

    @cached_property
    def pairs(self) -> float:
        """The number of ordered pairs that are not tied."""
        group, size, _ = self._levels
        return float((size * (len(group) - size)).sum())

    @cached_property
    def _levels(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """The level of each source, best first; the sources of each level; the sum of their 1 / (1 + rank)."""
        _, group, size = np.unique(-self.values, return_inverse=True, return_counts=True)
        stop = size.cumsum()
        harmonic = np.concatenate(([0.0], (1 / np.arange(1, len(group) + 1)).cumsum()))
        return group, size, harmonic[stop] - harmonic[stop - size]
