"""Precomputed rank statistics of the scores or the Dice of a large pool.

s_ij = sign(v_i - v_j); sums_i is the sum of s_ij over j; w_i is 1 / (1 + rank), the best rank being 0.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Signs = NDArray[np.float32]  # exact for -1, 0 and 1, and takes half the memory and time of float64


@dataclass(frozen=True)
class Ranked:
    """Scores or Dice of a large pool, with rank statistics computed once for all comparisons.

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
        """(n,) the number of sources below minus the number above."""
        order = np.sort(self.values)
        below = np.searchsorted(order, self.values, side="left")
        above = len(order) - np.searchsorted(order, self.values, side="right")
        return (below - above).astype(np.float64)

    @cached_property
    def untied(self) -> Signs:
        """(n, n) 1 if two sources differ, 0 if they are tied."""
        return np.abs(self.signs)

    @cached_property
    def tied(self) -> bool:
        """Whether any two sources are tied."""
        return len(np.unique(self.values)) < len(self.values)

    @cached_property
    def pull(self) -> Array:
        """(n,) w_i sums_i + sum_j w_j sign_ij, with w the mean of 1 / (1 + rank) over tied sources."""
        group, size, total = self._levels
        above = total.cumsum() - total
        below = total.sum() - total - above
        pull: Array = (total / size)[group] * self.sums + (below - above)[group]
        return pull

    @cached_property
    def weight(self) -> float:
        """The sum of the weight of the first source over all ordered pairs that are not tied."""
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
