"""Bootstrap resamples and permutations of the sources, shared by all targets and metrics.

A source is in the pools of several targets, so drawing the sources separately for each target would ignore that the
targets are correlated; here one draw of the union of all pools is used for every target. Sharing the draws between
metrics makes their differences paired.

Sources of one family (of one architecture, unless the suite says otherwise) resemble each other, so the sources of
different families are not exchangeable: they are permuted within their family, and there are resamples of whole
families and within families next to the plain ones. Sources that are the only ones of their family are exchangeable
with each other, and permuted among themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
NO_FAMILIES: Mapping[str, str] = {}
FAMILY_DRAWS = 300  # of whole families, and within families


@dataclass(frozen=True)
class SourceDraws:
    """Resamples and permutations of the union of all pools.

    Attributes:
        names: (N,) the sources, sorted.
        counts: (b, N) int64, the count of each source in each bootstrap resample; rows sum to N.
        permutations: (b, N) int64, each row a permutation of 0 .. N-1, uniform within each family.
        free_permutations: (b, N) int64, the same among all sources; the same array if there is one family.
        families: (N,) the family of each source.
        of_families: (b', N) int64, the counts if whole families are drawn; None if there is one family.
        within_families: (b', N) int64, the counts if as many sources as a family has are drawn from each; None if there
            is one family.
    """

    names: tuple[str, ...]
    counts: Integers
    permutations: Integers
    free_permutations: Integers
    families: tuple[str, ...]
    of_families: Integers | None = None
    within_families: Integers | None = None

    def counts_of(self, pool: Sequence[str]) -> Integers:
        """(b, n) the counts of the pool's sources, in the pool's order."""
        return self.counts[:, self.places(pool)]

    def without_one(self, pool: Sequence[str]) -> Integers:
        """(N, n) the counts of the jackknife: each row leaves out one source of the union."""
        return 1 - np.eye(len(self.names), dtype=np.int64)[:, self.places(pool)]

    def permuted(self, pool: Sequence[str], *, freely: bool = False) -> Integers:
        """(b, n) a permutation of the pool's indices for each draw, within families unless `freely`.

        The union's permutation is applied to each source repeatedly until the result is in the pool (the first-return
        map). This is a uniform permutation of the pool, and as similar between pools as possible.
        """
        permutations = self.free_permutations if freely else self.permutations
        places = self.places(pool)
        position = np.full(len(self.names), -1)
        position[places] = np.arange(len(places))
        at = permutations[:, places]
        while (outside := position[at] < 0).any():
            at = np.where(outside, np.take_along_axis(permutations, at, axis=1), at)
        return position[at]

    def of_each_family(self) -> "SourceDraws":
        """The draws within families, to measure the sources of one family by."""
        if self.within_families is None:
            raise ValueError("the sources must be of several families")
        return replace(
            self,
            counts=self.within_families,
            permutations=self.permutations[: len(self.within_families)],
            of_families=None,
        )

    def places(self, pool: Sequence[str]) -> Integers:
        """(n,) the indices of the pool's sources in the union."""
        return np.array([self._where[name] for name in pool], dtype=np.int64)

    def family_of(self, pool: Sequence[str]) -> dict[str, list[str]]:
        """Family -> its sources in the pool."""
        members: dict[str, list[str]] = {}
        for name in pool:
            members.setdefault(self.families[self._where[name]], []).append(name)
        return members

    @cached_property
    def several_families(self) -> bool:
        """Whether the sources are of more than one family."""
        return len(set(self.families)) > 1

    @cached_property
    def _where(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def draw(
    names: Iterable[str],
    *,
    resamples: int,
    generator: np.random.Generator,
    families: Mapping[str, str] = NO_FAMILIES,
) -> SourceDraws:
    """Draw bootstrap resamples and permutations of the sources.

    Args:
        names: The sources of all pools, repeats allowed.
        resamples: b, the number of resamples and of permutations.
        generator: Source of randomness.
        families: Source -> its family; sources without an entry are of one family.

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
    of_each = tuple(families.get(name, "") for name in union)
    plain = SourceDraws(union, counts.astype(np.int64), permutations, permutations, of_each)
    return _with_families(plain, generator.spawn(1)[0]) if plain.several_families else plain


def _with_families(draws: SourceDraws, generator: np.random.Generator) -> SourceDraws:
    """Add the draws within and of families."""
    resamples, codes = min(len(draws.counts), FAMILY_DRAWS), np.unique(draws.families, return_inverse=True)[1]
    number = codes.max() + 1
    of_families = generator.multinomial(number, np.full(number, 1 / number), size=resamples)[:, codes]
    within = np.empty_like(draws.counts[:resamples])
    for code in range(number):
        members = np.flatnonzero(codes == code)
        n = len(members)
        within[:, members] = generator.multinomial(n, np.full(n, 1 / n), size=resamples)
    permutations = np.empty_like(draws.permutations)
    strata = np.where(np.bincount(codes)[codes] == 1, number, codes)  # those alone in their family are one stratum
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        permutations[:, members] = generator.permuted(np.tile(members, (len(permutations), 1)), axis=1)
    return replace(draws, permutations=permutations, of_families=of_families.astype(np.int64), within_families=within)
