"""Bootstrap resamples and permutations of the sources, shared by all targets and metrics.

A source is in the pools of several targets, so drawing the sources separately for each target would ignore that the
targets are correlated; here one draw of the union of all pools is used for every target. Sharing the draws between
metrics makes their differences paired.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class SourceDraws:
    """Resamples and permutations of the union of all pools.

    Attributes:
        names: (N,) the sources, sorted.
        counts: (b, N) int64, the count of each source in each bootstrap resample; rows sum to N.
        permutations: (b, N) int64, each row a uniform permutation of 0 .. N-1.
    """

    names: tuple[str, ...]
    counts: Integers
    permutations: Integers

    def counts_of(self, pool: Sequence[str]) -> Integers:
        """(b, n) the counts of the pool's sources, in the pool's order."""
        return self.counts[:, self.places(pool)]

    def without_one(self, pool: Sequence[str]) -> Integers:
        """(N, n) the counts of the jackknife: each row leaves out one source of the union."""
        return 1 - np.eye(len(self.names), dtype=np.int64)[:, self.places(pool)]

    def permuted(self, pool: Sequence[str]) -> Integers:
        """(b, n) a permutation of the pool's indices for each draw.

        The union's permutation is applied to each source repeatedly until the result is in the pool (the first-return
        map). This is a uniform permutation of the pool, and as similar between pools as possible.
        """
        places = self.places(pool)
        position = np.full(len(self.names), -1)
        position[places] = np.arange(len(places))
        at = self.permutations[:, places]
        while (outside := position[at] < 0).any():
            at = np.where(outside, np.take_along_axis(self.permutations, at, axis=1), at)
        return position[at]

    def places(self, pool: Sequence[str]) -> Integers:
        """(n,) the indices of the pool's sources in the union."""
        where = {name: place for place, name in enumerate(self.names)}
        return np.array([where[name] for name in pool], dtype=np.int64)


def draw(names: Iterable[str], *, resamples: int, generator: np.random.Generator) -> SourceDraws:
    """Draw bootstrap resamples and permutations of the sources.

    Args:
        names: The sources of all pools, repeats allowed.
        resamples: b, the number of resamples and of permutations.
        generator: Source of randomness.

    Returns:
        The draws.

    Raises:
        ValueError: `names` is empty or `resamples` is below 1.

    Example:
        >>> draws = draw(["b", "a", "c"], resamples=2, generator=np.random.default_rng(0))
        >>> draws.names, draws.counts.sum(axis=1).tolist()
        (('a', 'b', 'c'), [3, 3])
    """
    union = tuple(sorted(set(names)))
    if not union:
        raise ValueError("`names` must contain at least one source, got none")
    if resamples < 1:
        raise ValueError(f"`resamples` must be at least 1, got {resamples}")
    n = len(union)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    permutations = generator.permuted(np.tile(np.arange(n), (resamples, 1)), axis=1)
    return SourceDraws(union, counts.astype(np.int64), permutations.astype(np.int64))
