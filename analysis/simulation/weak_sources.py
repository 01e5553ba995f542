"""Pools with a few weak sources: the errors of the reliability and the ceiling that are estimated from halves.

The other sources are close together: their expected Dice has a standard deviation (spread) of the size of the noise or
less. The Dice of source i with seed s on case c is t_i + a_is + b_ic + e_isc with normal noise, and a difficulty of
each case that all sources share; without cases it is t_i + a_is. The true reliability is the mean agreement of the mean
Dice with one from other seeds and cases, the true ceiling that of t with the mean Dice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.agreement.measure_table import PRIMARY, Measure, measured, row_sides
from analysis.simulation.quantity import COMPARISON, Array, Bounds, Effort, Part, Quantity, mean
from analysis.truth.ceiling import calibrate
from analysis.truth.halves import Halves, crossed_halves, seed_halves

STRONG = 0.7  # expected Dice of the other sources
WEAKER = (0.7, 1.3)  # of `gap`: what the weak sources lose differs by as much
DIFFICULTY = 0.05  # standard deviation between cases, the same for every source
REPEATS = 20  # other seeds and cases for the true value of a pool


@dataclass(frozen=True)
class PoolsWithWeakSources:
    """Pools with weak sources.

    Attributes:
        sources: The number of sources.
        weak: The numbers of weak sources.
        spreads: The standard deviations of the expected Dice of the others.
        gap: How much lower the expected Dice of a weak source is, on average.
        seeds: The number of seeds.
        seed_sd: The standard deviation of a_is.
        cases: The numbers of test cases that are halved with the seeds; 0 if only seeds are halved.
        case_sd: The standard deviation of b_ic.
        both_sd: The standard deviation of e_isc.
        error: Minimum and maximum mean error of the ceiling.
    """

    sources: int
    weak: Sequence[int]
    spreads: Sequence[float]
    gap: float
    seeds: int
    seed_sd: float
    cases: Sequence[int]
    case_sd: float
    both_sd: float
    error: Bounds

    def parts(self) -> Mapping[str, Part]:
        """Weak sources, spread and what is halved -> the simulation."""
        return {
            f"{weak} weak; spread {spread:g}; {f'seeds and {cases} cases' if cases else 'seeds'}": partial(
                self._part, weak, spread, cases
            )
            for cases in self.cases
            for weak in self.weak
            for spread in self.spreads
        }

    def expected_dice(self, number: int, weak: int, spread: float, generator: np.random.Generator) -> Array:
        """Draw the t of pools, (number, sources); the weak sources are the first."""
        expected = STRONG + spread * generator.standard_normal((number, self.sources))
        expected[:, :weak] -= self.gap * generator.uniform(*WEAKER, (number, weak))
        return expected

    def measured_dice(self, expected: Array, cases: int, generator: np.random.Generator) -> Array:
        """Draw the Dice with every seed, and on every case unless `cases` is 0.

        Args:
            expected: t, (number, n).
            cases: m, the number of test cases.
            generator: Source of randomness.

        Returns:
            (number, n, s), or (number, n, s, m).
        """
        number, n = expected.shape
        of_seeds = expected[..., None] + self.seed_sd * generator.standard_normal((number, n, self.seeds))
        if not cases:
            return of_seeds
        of_cases = self.case_sd * generator.standard_normal((number, n, 1, cases))
        difficulty = DIFFICULTY * generator.standard_normal((number, 1, 1, cases))
        of_both = self.both_sd * generator.standard_normal((number, n, self.seeds, cases))
        return of_seeds[..., None] + of_cases + difficulty + of_both

    def _part(
        self, weak: int, spread: float, cases: int, effort: Effort, generator: np.random.Generator
    ) -> list[Quantity]:
        expected = self.expected_dice(effort.pools, weak, spread, generator)
        dice = self.measured_dice(expected, cases, generator)
        truth = self._truth(expected, cases, generator)
        estimates: dict[str, list[float]] = {name: [] for name in truth}
        for values in dice:
            halves = crossed_halves(values[..., None], generator=generator) if cases else seed_halves(values)
            for name, value in _estimates(values.reshape(len(values), -1).mean(axis=1), halves, generator).items():
                estimates[name].append(value)
        quantities = []
        for measure in PRIMARY:
            for name, bounds in ((_ceiling(measure), self.error), (_reliability(measure), COMPARISON)):
                error = np.array(estimates[name]) - truth[name]
                quantities += [mean(f"true {name}", truth[name]), mean(f"mean error, {name}", error, bounds)]
        return quantities

    def _truth(self, expected: Array, cases: int, generator: np.random.Generator) -> dict[str, Array]:
        """For each quantity its (number,) true values, the mean over other seeds and cases."""
        sums: dict[str, Array] = {}
        for _ in range(REPEATS):
            first, second = (
                self.measured_dice(expected, cases, generator).reshape(*expected.shape, -1).mean(axis=2)
                for _ in range(2)
            )
            ceilings, reliabilities = (measured(PRIMARY, x, row_sides(first)) for x in (expected, second))
            for measure in PRIMARY:
                for name, values in ((_ceiling(measure), ceilings), (_reliability(measure), reliabilities)):
                    sums[name] = sums.get(name, 0.0) + values[measure.name] / REPEATS
        return sums


def _estimates(dice: Array, halves: Halves, generator: np.random.Generator) -> dict[str, float]:
    """The ceiling and the reliability by every measure, from the mean Dice (n,) and its halves."""
    calibration, half = calibrate(dice, halves, measures=PRIMARY, generator=generator), halves.agreement(PRIMARY)
    ceilings = {_ceiling(m): calibration.ceiling(m, half[m.name]) for m in PRIMARY}
    return ceilings | {_reliability(m): float(calibration.reliability(m, np.array(half[m.name]))) for m in PRIMARY}


def _ceiling(measure: Measure) -> str:
    return f"ceiling of {measure.name}"


def _reliability(measure: Measure) -> str:
    return f"reliability of {measure.name}"
