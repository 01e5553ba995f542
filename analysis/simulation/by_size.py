"""Pools of independent sources, by size: coverage of every measure's interval, and p-values under the null.

Scores and Dice are drawn from a bivariate normal distribution with a known correlation. An interval must contain the
mean of the measure over pools of that size; for Pearson this is the correlation itself. Two metrics with the same
correlation with the Dice are drawn, so the true difference between them is 0. With a correlation of 0 p-values must be
uniform.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from analysis.agreement.intervals import Interval, fisher_interval, permutation_p
from analysis.agreement.measure_table import (
    MEASURES,
    PEARSON,
    PRIMARY,
    WEIGHTED_KENDALL,
    measured,
    resample_sides,
    row_sides,
)
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
from benchmark.errors import InputError

BOOTSTRAPPED = tuple(measure for measure in MEASURES if measure is not PEARSON)
DIFFERENCE = f"difference of {WEIGHTED_KENDALL.name}"
NOT_GIVEN = " if it were given"
MINIMUM_P = 0.001  # significance level of the test of uniformity


@dataclass(frozen=True)
class PoolsBySize:
    """Pools of independent sources.

    Attributes:
        sizes: The numbers of sources of a pool.
        correlation: The correlation of each score with the Dice, in (-1, 1).
        coverage: Minimum and maximum coverage.
        rejected: Minimum and maximum share of p <= 0.05 under the null.
    """

    sizes: Sequence[int]
    correlation: float
    coverage: Bounds
    rejected: Bounds

    def __post_init__(self) -> None:
        if not -1 < self.correlation < 1:
            raise InputError(f"`correlation` must be between -1 and 1, got {self.correlation}")

    def parts(self) -> Mapping[str, Part]:
        """Number of sources -> its simulation."""
        return {f"{n} sources": partial(self._part, n) for n in self.sizes}

    def _part(self, n: int, effort: Effort, generator: np.random.Generator) -> list[Quantity]:
        names, truth = source_names(n), self._truth(n, generator)
        intervals: dict[str, list[Interval]] = {}
        scores, dice = normal_pools(effort.pools, n, self.correlation, generator)
        for pool in range(effort.pools):
            draws = draw(names, resamples=effort.resamples, generator=generator)
            for name, interval in _intervals(scores[:, pool], dice[pool], draws).items():
                intervals.setdefault(name, []).append(interval)
        covered = [
            coverage(name, given, truth[name.removesuffix(NOT_GIVEN)], self._bounds(name))
            for name, given in intervals.items()
        ]
        return covered + self._null(n, effort, generator)

    def _bounds(self, name: str) -> Bounds:
        return COMPARISON if name.endswith(NOT_GIVEN) else self.coverage

    def _truth(self, n: int, generator: np.random.Generator) -> dict[str, float]:
        scores, dice = normal_pools(TRUE_POOLS, n, self.correlation, generator)
        means = {name: float(v.mean()) for name, v in measured(BOOTSTRAPPED, scores[0], row_sides(dice)).items()}
        return means | {PEARSON.name: self.correlation, DIFFERENCE: 0.0}

    def _null(self, n: int, effort: Effort, generator: np.random.Generator) -> list[Quantity]:
        scores, dice = normal_pools(effort.pools, n, 0.0, generator)
        values = measured(PRIMARY, scores[0], row_sides(dice))
        p: dict[str, list[float]] = {measure.name: [] for measure in PRIMARY}
        for pool, (x, y) in enumerate(zip(scores[0], dice, strict=True)):
            permuted = y[draw(source_names(n), resamples=effort.permutations, generator=generator).permutations]
            for name, null in measured(PRIMARY, x, row_sides(permuted)).items():
                p[name].append(permutation_p(values[name][pool], null))
        uniform = [
            Quantity(f"p-values are uniform (Kolmogorov-Smirnov), {name}", _uniformity(drawn), low=MINIMUM_P, high=1.0)
            for name, drawn in p.items()
        ]
        return [rejections(name, drawn, self.rejected) for name, drawn in p.items()] + uniform


def normal_pools(number: int, n: int, correlation: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Draw pools of two metrics with the same correlation with the Dice, independent given the Dice.

    Args:
        number: The number of pools.
        n: The number of sources per pool.
        correlation: The correlation, in (-1, 1).
        generator: Source of randomness.

    Returns:
        Scores (2, number, n), and Dice (number, n) with mean 0.5 and standard deviation 0.1.
    """
    dice = generator.standard_normal((number, n))
    noise = generator.standard_normal((2, number, n))
    return correlation * dice + np.sqrt(1 - correlation**2) * noise, 0.5 + 0.1 * dice


def _intervals(scores: Array, dice: Array, draws: SourceDraws) -> dict[str, Interval]:
    n, sides = len(dice), list(resample_sides(dice, draws.counts))
    resampled = measured(BOOTSTRAPPED, scores[0], sides)
    other = measured([WEIGHTED_KENDALL], scores[1], sides)[WEIGHTED_KENDALL.name]
    intervals = {PEARSON.name: fisher_interval(PEARSON.of_pool(scores[0], dice), n)}
    intervals |= {measure.name: measure.interval(resampled[measure.name], n) for measure in BOOTSTRAPPED}
    intervals[DIFFERENCE] = WEIGHTED_KENDALL.interval(resampled[WEIGHTED_KENDALL.name] - other, n)
    small = [measure for measure in BOOTSTRAPPED if n < measure.fewest]
    return intervals | {f"{m.name}{NOT_GIVEN}": replace(m, fewest=0).interval(resampled[m.name], n) for m in small}


def _uniformity(p: Sequence[float]) -> float:
    return float(stats.kstest(p, "uniform").pvalue)
