"""How well a perfect predictor would agree with the truth: no metric can be expected to do better.

The truth that a metric is compared with is the mean Dice over s seeds, m_i = t_i + e_i: t_i is the Dice expected over
all possible seeds and e_i the luck of these. A perfect predictor knows t; its expected agreement with m is the ceiling.

Pearson has a closed form: with the split-half reliability r, the mean over all seeds has reliability 2r / (1 + r) and
the ceiling is its square root.

Rank measures are simulated. What is drawn: m' = t' + e', e'_i normal with variance v_i / s, where v_i is the seed
variance of source i; what is averaged: the measure between t' and m'. v_i is the mean square of what remains of
Dice_is after the means of source i and of seed s are taken out: sources share batches and head initialisation at one
seed, so a lucky seed lifts all of them and changes no ranking. The t' are the observed means drawn together towards
the pool mean, t' = g + sqrt(1 - v / (s V)) (m - g), v the mean of the v_i and V the variance of the m_i: so the
spread of t' + e' is the observed one. The observed means themselves would not do: their spread holds the noise
already, and the ceiling would come out too high. Where the noise explains the whole spread the ceiling is 0, the
limit, and a share of it is undefined.

With four seeds or more the simulation is off by less than 0.02 on average, whether all sources are equally noisy or
some six times as noisy as others; a variance pooled over the sources is too low by up to 0.07 in the second case.
With two seeds it is off by up to 0.03.

References:
    Attenuation: C. Spearman, "The proof and measurement of association between two things", Am. J. Psychol. 15, 1904.
"""

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.measure_table import PEARSON, WEIGHTED_KENDALL, Measure
from analysis.truth.reliability import split_half_reliability, why_unreliable

Array = NDArray[np.float64]
DRAWS = 1000  # standard error of the ceiling below 0.01 for 10 sources
FEWEST_DRAWS = 20  # of 1,000 sources, whose ceiling varies little from draw to draw
MANY = 100  # beyond so many sources the draws fall with the square of their number


def ceiling(dice: Array, *, measure: Measure, generator: np.random.Generator) -> float:
    """The expected agreement of a perfect predictor with the mean over all seeds.

    Args:
        dice: (n, s) float64, finite.
        measure: The measure of agreement; Pearson takes the closed form, others the simulation.
        generator: Where the simulation's randomness comes from.

    Returns:
        A number in [0, 1]; NaN where the truth has no reliability (see `analysis.truth.reliability`).
    """
    if why_unreliable(dice):
        return float("nan")
    if measure is PEARSON:
        return pearson_ceiling(split_half_reliability(dice, measure=PEARSON))
    return simulated_ceiling(dice, measure=measure, generator=generator)


def pearson_ceiling(reliability: float) -> float:
    """sqrt(2r / (1 + r)), and 0 where r is negative: then the truth is noise.

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
    dice: Array, *, measure: Measure = WEIGHTED_KENDALL, generator: np.random.Generator, draws: int | None = None
) -> float:
    """The ceiling of any measure by simulation from the seed variance, as the module says.

    Args:
        dice: (n, s) float64, finite, n >= 3 and s >= 2.
        measure: The measure of agreement.
        generator: Where the randomness comes from.
        draws: How many truths are simulated; by default 1,000 for up to 100 sources, and fewer for more.

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
        raise ValueError(f"`dice` must hold at least 3 sources and 2 seeds, got {reason}")
    noise = seed_variances(dice) / dice.shape[1]
    expected = expected_dice(dice)
    if np.ptp(expected) == 0:
        return 0.0
    draws = draws or min(DRAWS, max(FEWEST_DRAWS, DRAWS * MANY**2 // len(dice) ** 2))
    observed = expected + np.sqrt(noise) * generator.standard_normal((draws, len(dice)))
    return float(measure.of_rows(expected, observed).mean())


def seed_variances(dice: Array) -> Array:
    """The variance of each source's Dice between seeds, what all sources share at a seed taken out.

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
    variances: Array = (rest**2).sum(axis=1) / (s - 1) * n / (n - 1)
    return variances


def expected_dice(dice: Array) -> Array:
    """The t' of the module: the mean Dice a source, drawn together so that only the spread beyond the noise is left.

    Args:
        dice: (n, s) float64, n >= 2 and s >= 2.

    Returns:
        (n,) float64; all alike where the noise explains the whole spread.
    """
    mean: Array = dice.mean(axis=1)
    spread = float(mean.var(ddof=1))
    if spread == 0:
        return mean
    beyond_noise = max(0.0, 1 - float(seed_variances(dice).mean()) / dice.shape[1] / spread)
    centre = mean.mean()
    drawn: Array = centre + np.sqrt(beyond_noise) * (mean - centre)
    return drawn
