"""Pools whose sources are of families: sources of one family resemble each other in Dice and in score.

Dice and score of source i in family f are

    y_i = sqrt(c) F_f + sqrt(1 - c) e_i,    x_i = r y_i + sqrt(1 - r^2) z_i

with standard normal F and e, z drawn like y, c the correlation of sources of one family and r that of score and Dice,
within and between families. The true value of an agreement is its mean over pools with new families.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from analysis.agreement.bootstrap import Counts
from analysis.agreement.intervals import Interval, family_interval, permutation_p
from analysis.agreement.measure_table import WEIGHTED_KENDALL
from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.agreement.source_bootstrap import SourceDraws, draw
from analysis.simulation.quantity import (
    COMPARISON,
    TRUE_POOLS,
    Array,
    Bounds,
    Effort,
    Part,
    Quantity,
    coverage,
    rejections,
    source_names,
)

OVER_SOURCES, OVER_FAMILIES, WITHIN = "interval over sources", "interval over families", "interval within families"


@dataclass(frozen=True)
class PoolsOfFamilies:
    """Pools of sources of several families, measured by weighted Kendall.

    Attributes:
        pools: The sizes of the families of each kind of pool.
        family_correlations: c, the correlations of sources of one family, in [0, 1).
        correlation: r, the correlation of score and Dice where intervals are examined.
        coverage: Minimum and maximum coverage.
        rejected: Minimum and maximum share of p <= 0.05 under the null.
    """

    pools: Sequence[Sequence[int]]
    family_correlations: Sequence[float]
    correlation: float
    coverage: Bounds
    rejected: Bounds

    def parts(self) -> Mapping[str, Part]:
        """Families and their correlation -> the simulation."""
        return {
            f"families of {', '.join(map(str, sizes))}; family correlation {within:g}": partial(
                self._part, sizes, within
            )
            for sizes in self.pools
            for within in self.family_correlations
        }

    def _part(
        self, sizes: Sequence[int], within: float, effort: Effort, generator: np.random.Generator
    ) -> list[Quantity]:
        return [
            *self._null(sizes, within, effort, generator),
            *self._coverage(sizes, within, effort, generator),
        ]

    def _null(
        self, sizes: Sequence[int], within: float, effort: Effort, generator: np.random.Generator
    ) -> list[Quantity]:
        scores, dice = family_pools(effort.pools, sizes, within, 0.0, generator)
        values = WEIGHTED_KENDALL.of_rows(scores, dice)
        p: list[list[float]] = [[], []]
        for x, y, value in zip(scores, dice, values, strict=True):
            draws = _draws(sizes, effort.permutations, generator)
            for kept, permutations in zip(p, (draws.permutations, draws.free_permutations), strict=True):
                kept.append(permutation_p(value, WEIGHTED_KENDALL.of_rows(x, y[permutations])))
        return [
            rejections("permuted within families", p[0], self.rejected),
            rejections("permuted among all sources", p[1], self.rejected if within == 0 else COMPARISON),
        ]

    def _coverage(
        self, sizes: Sequence[int], within: float, effort: Effort, generator: np.random.Generator
    ) -> list[Quantity]:
        scores, dice = family_pools(TRUE_POOLS, sizes, within, self.correlation, generator)
        truth = float(WEIGHTED_KENDALL.of_rows(scores, dice).mean())
        truth_within = float(_within(sizes, lambda at: WEIGHTED_KENDALL.of_rows(scores[:, at], dice[:, at])).mean())
        scores, dice = family_pools(effort.pools, sizes, within, self.correlation, generator)
        by_pool = [
            _intervals(sizes, x, y, _draws(sizes, effort.resamples, generator))
            for x, y in zip(scores, dice, strict=True)
        ]
        plain = self.coverage if within == 0 else COMPARISON
        return [
            coverage(OVER_SOURCES, [intervals[OVER_SOURCES] for intervals in by_pool], truth, plain),
            coverage(OVER_FAMILIES, [intervals[OVER_FAMILIES] for intervals in by_pool], truth, self.coverage),
            coverage(WITHIN, [intervals[WITHIN] for intervals in by_pool], truth_within, self.coverage),
        ]


def family_pools(
    number: int, sizes: Sequence[int], within: float, correlation: float, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Draw pools of families.

    Args:
        number: The number of pools.
        sizes: The number of sources of each family; they follow each other in a pool.
        within: c, the correlation of sources of one family, in [0, 1).
        correlation: r, the correlation of score and Dice, in (-1, 1).
        generator: Source of randomness.

    Returns:
        Scores and Dice, (number, n) each, of mean 0 and standard deviation 1.
    """
    codes = np.repeat(np.arange(len(sizes)), sizes)

    def values() -> Array:
        common = generator.standard_normal((number, len(sizes)))[:, codes]
        own = generator.standard_normal((number, len(codes)))
        return np.asarray(np.sqrt(within) * common + np.sqrt(1 - within) * own)

    dice = values()
    scores = correlation * dice + np.sqrt(1 - correlation**2) * values()
    return scores, dice


def _draws(sizes: Sequence[int], resamples: int, generator: np.random.Generator) -> SourceDraws:
    families = [str(family) for family, size in enumerate(sizes) for _ in range(size)]
    names = source_names(len(families))
    return draw(names, resamples=resamples, generator=generator, families=dict(zip(names, families, strict=True)))


def _intervals(sizes: Sequence[int], scores: Array, dice: Array, draws: SourceDraws) -> dict[str, Interval]:
    of_families, within = cast("Counts", draws.of_families), cast("Counts", draws.within_families)

    def resampled(counts: Counts) -> Array:
        return WEIGHTED_KENDALL.of_resamples(scores, dice, counts)

    plain = WEIGHTED_KENDALL.interval(resampled(draws.counts), len(dice))
    inside = _within(sizes, lambda at: WEIGHTED_KENDALL.of_resamples(scores[at], dice[at], within[:, at]))
    return {
        OVER_SOURCES: plain,
        OVER_FAMILIES: family_interval(plain, resampled(of_families), len(sizes)),
        WITHIN: WEIGHTED_KENDALL.interval(inside, float(np.mean(_counted(sizes))), fewest=min(_counted(sizes))),
    }


def _within(sizes: Sequence[int], of_family: Callable[[slice], Array]) -> Array:
    """The mean over families, weighted by their number of sources; `of_family` has the places of a family's sources."""
    ends = np.cumsum(sizes)
    values = [size * of_family(slice(end - size, end)) for size, end in zip(sizes, ends, strict=True) if _counts(size)]
    return cast("Array", sum(values) / sum(_counted(sizes)))


def _counted(sizes: Sequence[int]) -> list[int]:
    return [size for size in sizes if _counts(size)]


def _counts(size: int) -> bool:
    return size >= FEWEST_SOURCES
