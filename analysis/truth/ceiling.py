"""Reliability and ceiling of the truth, from the agreement of two halves of its seeds and test cases.

The truth that a metric is compared with is m_i = t_i + e_i: t_i is the Dice of source i expected over seeds and test
cases, e_i the noise of those at hand. Its reliability is the expected agreement with such a mean over as many other
seeds and cases; the ceiling is the expected agreement of a perfect predictor, which knows t. Halves are noisier than
the whole, so both are above the agreement r of the halves.

Pearson has closed forms: reliability k r / (1 + (k - 1) r) (Spearman and Brown), ceiling its square root. k is the
variance of the noise in a half over that in the whole: 2 for halves of the seeds, up to 4 for halves of seeds and
cases, since a half has a quarter of the pairs of a seed and a case.

Rank measures are simulated. The t' are the observed means, moved towards their median g,

    t'_i = g + sign(m_i - g) max(q |m_i - g|, |m_i - g| - c s)

with s the noise of a mean and c = LIMIT (limited translation, Efron and Morris): sources close together are shrunk by
the factor q, but one that is far away, for which noise cannot be the reason, stays away. Truths t' + e' with normal
noise of the estimated variances are simulated for q from 0 to 1.5, and that q is taken for which the mean agreement of
their halves equals the observed r; ceiling and reliability are those of t'. Both rise with r ever more slowly, so that
noise in r would make them too low on average; the mean error at q, which the same simulation gives, is subtracted. A
pool's ceiling by Pearson is simulated as well: with 13 sources and a reliability of 0.5 the closed form is too low by
0.1 on average.

Accuracy, with 13 sources and 4 seeds (`analysis.simulation.weak_sources`): the ceiling is off by at most 0.03 on
average if the spread of the sources that are not weak is at least half the noise of a mean, whether no, one or three
sources are weak; with a third of that noise, from seeds and cases, the ceiling is up to 0.07 too high. The ceiling of
noise alone is not 0 but about 0.2 (Pearson: 0.3), since no estimate is negative. Reliability by Pearson, which is not
simulated, is up to 0.06 too low in noisy pools. One factor for all sources, from their variance, would
give a ceiling of 0.64 for a true 0.40 if one source is weak, since that source makes up the variance.

References:
    C. Spearman, "Correlation calculated from faulty data", Brit. J. Psychol. 3, 1910; W. Brown, the same volume.
    B. Efron, C. Morris, "Limiting the Risk of Bayes and Empirical Bayes Estimators", JASA 66(336), 1971,
    doi 10.1080/01621459.1971.10482347.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from analysis.agreement.bootstrap import Array
from analysis.agreement.measure_table import PEARSON, WEIGHTED_KENDALL, Measure, measured, row_sides
from analysis.truth.halves import Halves, seed_halves, splits
from analysis.truth.reliability import spearman_brown, why_unreliable

TRUTHS = 800  # simulated sources per factor: 61 truths of 13 sources
FEWEST_TRUTHS = 12
LIMIT = 2.0  # standard deviations of the noise
FACTORS = (0.001, 0.06, 0.12, 0.2, 0.28, 0.36, 0.46, 0.6, 0.8, 1.0, 1.5)  # q; results are interpolated between them
CORRECTIONS = 2  # of the mean error; the first leaves about a third of it
MOST_SPLITS = 10  # of each simulated truth


@dataclass(frozen=True)
class Curve:
    """A quantity of the whole truth as a function of the agreement of its halves.

    Attributes:
        half: (q,) the simulated mean agreement of the halves, rising.
        value: (q,) the quantity, less the mean error of reading it off at the agreement of one truth's halves.
        lowest: The quantity for noise alone.
    """

    half: Array
    value: Array
    lowest: float

    def __call__(self, half: Array) -> Array:
        """The quantity, for agreement of any shape; from `lowest` up to 1, NaN for NaN."""
        return np.clip(np.interp(half, self.half, self.value), self.lowest, 1)


@dataclass(frozen=True)
class Calibration:
    """How reliability and ceiling of a pool follow from the agreement of its halves.

    Attributes:
        lengthening: k of the module.
        reliabilities: Measure -> the agreement of two wholes.
        ceilings: Measure -> the agreement of the expected Dice with a whole.
    """

    lengthening: float
    reliabilities: Mapping[str, Curve]
    ceilings: Mapping[str, Curve]

    def reliability(self, measure: Measure, half: Array) -> Array:
        """The reliability from the agreement of halves, of any shape."""
        if measure is PEARSON:
            return spearman_brown(half, lengthening=self.lengthening)
        return self.reliabilities[measure.name](half)

    def ceiling(self, measure: Measure, half: float) -> float:
        """The ceiling, in [0, 1]; NaN for NaN."""
        return max(0.0, float(self.ceilings[measure.name](np.array(half))))


def calibrate(
    mean: Array,
    halves: Halves,
    *,
    measures: Sequence[Measure],
    generator: np.random.Generator,
    truths: int | None = None,
) -> Calibration:
    """Simulate how the agreement of halves, reliability and ceiling depend on each other.

    Args:
        mean: (n,) float64, the mean Dice of each source over all seeds and cases.
        halves: Its halves.
        measures: The measures.
        generator: Source of randomness.
        truths: The number of simulated truths for each factor q; by default 800 / n, at least 12.
    """
    n, noise = len(mean), np.sqrt(halves.variance)
    truths = truths or max(TRUTHS // n, FEWEST_TRUTHS)
    parts = np.sqrt(halves.unit_variance) * generator.standard_normal((halves.units, truths, n))
    errors = noise * generator.standard_normal((2, 3 * truths, n))
    pairs = [(parts[split].mean(axis=0), parts[~split].mean(axis=0)) for split in splits(halves.units)[:MOST_SPLITS]]
    limit = LIMIT * float(np.sqrt(halves.variance.mean()))
    points = [_simulated(_shrunk(mean, factor, limit), pairs, errors, measures) for factor in FACTORS]
    curves: tuple[dict[str, Curve], dict[str, Curve]] = ({}, {})
    for measure in measures:
        half, *wholes = map(np.array, zip(*(point[measure.name] for point in points), strict=True))
        for curve, values in zip(curves, wholes, strict=True):
            curve[measure.name] = _curve(half, values)
    return Calibration(halves.lengthening, *curves)


def _simulated(
    expected: Array, pairs: Sequence[tuple[Array, Array]], errors: Array, measures: Sequence[Measure]
) -> dict[str, tuple[Array, float, float]]:
    """Measure -> agreement of the halves of each truth, mean agreement of two wholes, and of `expected` with a whole.

    Args:
        expected: (n,) float64, the t' of the module.
        pairs: For each split, the noise of both halves, (truths, n) float64 each.
        errors: (2, b, n) float64, the noise of two wholes.
        measures: The measures.
    """
    halves = [measured(measures, expected + first, row_sides(expected + second)) for first, second in pairs]
    whole = measured(measures, expected + errors[0], row_sides(expected + errors[1]))
    if np.ptp(expected) > 0:
        perfect = measured(measures, expected, row_sides(expected + errors[0]))
    else:  # nothing to predict
        perfect = {measure.name: np.zeros(1) for measure in measures}
    return {
        name: (np.mean([values[name] for values in halves], axis=0), float(whole[name].mean()), float(value.mean()))
        for name, value in perfect.items()
    }


def _shrunk(mean: Array, factor: float, limit: float) -> Array:
    """The t' of the module."""
    centre = np.median(mean)
    distance = np.abs(mean - centre)
    return cast("Array", centre + np.sign(mean - centre) * np.maximum(factor * distance, distance - limit))


def _curve(halves: Array, values: Array) -> Curve:
    """The curve through halves (q, truths) and values (q,), corrected so that what is read off it is right on average.

    Noise of the simulation that lets it fall is ironed out first.
    """
    half = np.maximum.accumulate(halves.mean(axis=1)) + 1e-9 * np.arange(len(halves))  # strictly, to be inverted
    value = np.maximum.accumulate(values)
    corrected = value
    for _ in range(CORRECTIONS):
        corrected = corrected - (np.interp(halves, half, corrected).mean(axis=1) - value)
    return Curve(half, corrected, float(value[0]))


def pearson_ceiling(reliability: float, *, lengthening: float = 2.0) -> float:
    """The ceiling for Pearson, sqrt(k r / (1 + (k - 1) r)), or 0 if r is negative (the truth is noise).

    Args:
        reliability: r, the agreement of two halves of the truth by Pearson.
        lengthening: k, the variance of the noise in a half over that in the whole.

    Returns:
        A number in [0, 1], NaN for NaN.

    Example:
        >>> pearson_ceiling(1.0), round(pearson_ceiling(0.5), 4), pearson_ceiling(-0.2)
        (1.0, 0.8165, 0.0)
    """
    if np.isnan(reliability):
        return reliability
    return float(np.sqrt(spearman_brown(np.maximum(reliability, 0.0), lengthening=lengthening)))


def simulated_ceiling(
    dice: Array, *, measure: Measure = WEIGHTED_KENDALL, generator: np.random.Generator, draws: int | None = None
) -> float:
    """The ceiling of any measure over the seeds only, by simulation, see the module.

    Args:
        dice: (n, s) float64, finite, n >= 3 and s >= 2.
        measure: The measure of agreement.
        generator: Source of randomness.
        draws: The number of simulated truths for each factor q of the module; by default 800 / n, at least 12.

    Returns:
        A number in [0, 1]; NaN if all sources are equal in one of the halves.

    Raises:
        ValueError: There are fewer than 3 sources or 2 seeds.

    Example:
        >>> exact = np.array([[0.1, 0.1], [0.3, 0.3], [0.5, 0.5]])
        >>> simulated_ceiling(exact, generator=np.random.default_rng(0))
        1.0
    """
    if reason := why_unreliable(dice):
        raise ValueError(f"`dice` must have at least 3 sources and 2 seeds, got {reason}")
    halves = seed_halves(dice)
    half = halves.agreement([measure])[measure.name]
    if np.isnan(half):
        return half
    calibration = calibrate(dice.mean(axis=1), halves, measures=[measure], generator=generator, truths=draws)
    return calibration.ceiling(measure, half)
