"""The ceiling: the expected agreement of a perfect predictor with the truth.

The truth that a metric is compared with is the mean Dice over s seeds, m_i = t_i + e_i: t_i is the Dice expected over
all possible seeds and e_i the noise of these s seeds. A perfect predictor knows t; its expected agreement with m is the
ceiling.

Pearson has a closed form: with the split-half reliability r, the mean over all seeds has reliability 2r / (1 + r) and
the ceiling is its square root.

Rank measures are simulated. The ceiling is the mean of the measure between t' and m' = t' + e', where e'_i is normal
with variance v_i / s and v_i is the seed variance of source i: the mean square of the residuals of Dice_is after
removing the means of source i and of seed s. (At the same seed, sources share batches and head initialisation, so a
favourable seed lifts all of them and does not change the ranking.) The t' are the observed means shrunk towards the
pool mean g, t' = g + sqrt(1 - v / (s V)) (m - g), with v the mean of the v_i and V the variance of the m_i, so that
t' + e' has the observed spread. Without shrinkage the ceiling would be too high, since the spread of the observed means
already contains the noise. If the noise explains the whole spread, the ceiling is 0 (the limit) and a share of it is
undefined.

With four seeds or more the mean error of the simulation is below 0.02, both if all sources are equally noisy and if
some are six times as noisy as others; with a variance pooled over the sources the ceiling is too low by up to 0.07 in
the second case. With two seeds the error is up to 0.03.

References:
    Attenuation: C. Spearman, "The proof and measurement of association between two things", Am. J. Psychol. 15, 1904.
"""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.measure_table import PEARSON, WEIGHTED_KENDALL, Measure
from analysis.truth.reliability import split_half_reliability, why_unreliable

Array = NDArray[np.float64]
DRAWS = 1000  # standard error of the ceiling below 0.01 for 10 sources


def ceiling(dice: Array, *, measure: Measure, generator: np.random.Generator) -> float:
    """The expected agreement of a perfect predictor with the mean over all seeds.

    Args:
        dice: (n, s) float64, finite.
        measure: The measure of agreement; closed form for Pearson, simulation for all others.
        generator: Randomness of the simulation.

    Returns:
        A number in [0, 1]; NaN if the truth has no reliability (see `analysis.truth.reliability`).
    """
    if why_unreliable(dice):
        return float("nan")
    if measure is PEARSON:
        return pearson_ceiling(split_half_reliability(dice, measure=PEARSON))
    return simulated_ceiling(dice, measure=measure, generator=generator)


def pearson_ceiling(reliability: float) -> float:
    """The ceiling for Pearson, sqrt(2r / (1 + r)), or 0 if r is negative (the truth is noise).

    Args:
        reliability: r, the split-half reliability of the truth by Pearson.

    Returns:
        A number in [0, 1], NaN for NaN.

    Example:
        >>> pearson_ceiling(1.0), round(pearson_ceiling(0.5), 4), pearson_ceiling(-0.2)
        (1.0, 0.8165, 0.0)
    """
    if np.isnan(reliability):
        return reliability
    return float(np.sqrt(2 * max(reliability, 0.0) / (1 + max(reliability, 0.0))))


def simulated_ceiling(
    dice: Array, *, measure: Measure = WEIGHTED_KENDALL, generator: np.random.Generator, draws: int = DRAWS
) -> float:
    """The ceiling of any measure by simulation from the seed variances, see the module.

    Args:
        dice: (n, s) float64, finite, n >= 3 and s >= 2.
        measure: The measure of agreement.
        generator: Source of randomness.
        draws: The number of simulated truths.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: There are fewer than 3 sources or 2 seeds.

    Example:
        >>> exact = np.array([[0.1, 0.1], [0.3, 0.3], [0.5, 0.5]])
        >>> simulated_ceiling(exact, generator=np.random.default_rng(0))
        1.0
    """
    if reason := why_unreliable(dice):
        raise ValueError(f"`dice` must have at least 3 sources and 2 seeds, got {reason}")
    noise = seed_variances(dice) / dice.shape[1]
    expected = expected_dice(dice)
    if np.ptp(expected) == 0:
        return 0.0
    observed = expected + np.sqrt(noise) * generator.standard_normal((draws, len(dice)))
    return float(measure.of_rows(expected, observed).mean())


def seed_variances(dice: Array) -> Array:
    """The variance of each source's Dice between seeds, after removing the mean over sources at each seed.

    Args:
        dice: (n, s) float64, n >= 2 and s >= 2.

    Returns:
        (n,) float64, the v_i of the module, in squared Dice.

    Example:
        >>> bool((seed_variances(np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])) < 1e-30).all())
        True
    """
    n, s = dice.shape
    rest = dice - dice.mean(axis=1, keepdims=True) - dice.mean(axis=0, keepdims=True) + dice.mean()
    return cast("Array", (rest**2).sum(axis=1) / (s - 1) * n / (n - 1))


def expected_dice(dice: Array) -> Array:
    """The t' of the module: mean Dice per source, shrunk so that only the spread beyond the noise is left.

    Args:
        dice: (n, s) float64, n >= 2 and s >= 2.

    Returns:
        (n,) float64; all equal if the noise explains the whole spread.
    """
    mean: Array = dice.mean(axis=1)
    spread = float(mean.var(ddof=1))
    if spread == 0:
        return mean
    beyond_noise = max(0.0, 1 - float(seed_variances(dice).mean()) / dice.shape[1] / spread)
    centre = mean.mean()
    return cast("Array", centre + np.sqrt(beyond_noise) * (mean - centre))
