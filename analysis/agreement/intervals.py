"""Confidence intervals and p-values for the measures of agreement.

The sources are the sample: an interval covers what another sample of as many sources from the same population could
give. Targets, cases and seeds are fixed; cases and seeds have intervals of their own
(`analysis.truth.seed_case_bootstrap`). The interval of each measure was chosen by its coverage (`analysis.coverage`,
docs/explanation/intervals.md).

References:
    Fisher z: R. A. Fisher, "On the probable error of a coefficient of correlation", Metron 1, 1921.
    Expanded percentiles: T. C. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician
    69(4), 2015, doi 10.1080/00031305.2015.1089789.
    Percentile and BCa bootstrap: B. Efron, "Better bootstrap confidence intervals", JASA 82(397), 1987,
    doi 10.1080/01621459.1987.10478410.
    p-value with the observed value among the draws: B. Phipson, G. K. Smyth, "Permutation p-values should never be
    zero", Stat. Appl. Genet. Mol. Biol. 9(1), 2010, doi 10.2202/1544-6115.1585.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

LEVEL = 0.95
UNDEFINED_SHARE = 0.2  # with more undefined resamples than this the others no longer represent the pool
FEWEST_RESAMPLES = 10
NOTHING = float("nan")
ROUNDING = 1e-12  # equal rankings may differ in the last digits
FEWEST_FAMILIES = 3  # two families have three resamples


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Its lower end, NaN where undefined.
        high: Its upper end, NaN where undefined.
        reason: Why it is NaN, or "".
    """

    low: float
    high: float
    reason: str = ""


def fisher_interval(r: float, n: int, *, level: float = LEVEL) -> Interval:
    """Fisher's interval of one Pearson correlation, tanh(atanh(r) -+ z / sqrt(n - 3)).

    Args:
        r: Pearson's r.
        n: The number of sources.
        level: The confidence, in (0, 1).

    Returns:
        The interval; undefined for n < 4.

    Example:
        >>> interval = fisher_interval(0.5, 12)
        >>> round(interval.low, 3), round(interval.high, 3)
        (-0.104, 0.834)
    """
    if not np.isfinite(r):
        return Interval(NOTHING, NOTHING, "the correlation is undefined")
    if n < 4:
        return Interval(NOTHING, NOTHING, f"{n} sources, Fisher's z needs at least 4")
    if abs(r) >= 1:
        return Interval(float(np.sign(r)), float(np.sign(r)))
    half = special.ndtri((1 + level) / 2) / np.sqrt(n - 3)
    return Interval(float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half)))


def percentile_interval(resampled: Array, *, level: float = LEVEL) -> Interval:
    """The percentile bootstrap interval: the central quantiles of the resampled values.

    Undefined resamples (the same source drawn every time) are ignored if they are at most a fifth of all.

    Args:
        resampled: (b,) float64, the measure on each resample, NaN where undefined.
        level: The confidence, in (0, 1).

    Returns:
        The interval; undefined if too many resamples are undefined.

    Example:
        >>> percentile_interval(np.arange(101.0), level=0.5)
        Interval(low=25.0, high=75.0, reason='')
    """
    if resampled.size < FEWEST_RESAMPLES:
        return Interval(NOTHING, NOTHING, f"{resampled.size} resamples, at least {FEWEST_RESAMPLES} are needed")
    kept = resampled[np.isfinite(resampled)]
    if kept.size < (1 - UNDEFINED_SHARE) * resampled.size or not kept.size:
        return Interval(NOTHING, NOTHING, f"undefined in {resampled.size - kept.size} of {resampled.size} resamples")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def expanded_interval(resampled: Array, n: float, *, level: float = LEVEL) -> Interval:
    """The percentile interval, expanded to correct for small samples.

    The standard deviation of resamples is too small by sqrt((n - 1) / n), and it is estimated, as for Student's t. The
    quantiles are therefore taken at Phi(-+ sqrt(n / (n - 1)) t), with t of n - 1 degrees of freedom.

    Args:
        resampled: (b,) float64, the measure on each resample, NaN where undefined.
        n: The number of sources drawn, at least 2; the mean number for a mean over targets.
        level: The confidence, in (0, 1).

    Returns:
        The interval; undefined if too many resamples are undefined.

    Example:
        >>> expanded_interval(np.arange(1001.0), 11, level=0.5)
        Interval(low=231.48..., high=768.51..., reason='')
    """
    z = np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 + level) / 2)
    return percentile_interval(resampled, level=float(2 * special.ndtr(z) - 1))


def bca_interval(value: float, resampled: Array, jackknife: Array, *, level: float = LEVEL) -> Interval:
    """The bias-corrected and accelerated bootstrap interval; `scipy.stats.bootstrap` cannot take shared resamples.

    Args:
        value: The measure on the sample.
        resampled: (b,) float64, the measure on each resample, NaN where undefined.
        jackknife: (N,) float64, the measure without each source in turn.
        level: The confidence, in (0, 1).

    Returns:
        The interval; undefined if too many resamples or any jackknife value are undefined.

    Example:
        >>> values = np.random.default_rng(0).normal(size=2000)
        >>> interval = bca_interval(0.0, values, np.linspace(-1, 1, 9))
        >>> abs(interval.high - 1.96) < 0.15
        True
    """
    plain = percentile_interval(resampled, level=level)
    if not np.isfinite([value, plain.low, plain.high]).all():
        return Interval(NOTHING, NOTHING, plain.reason or "the measure is undefined")
    if not np.isfinite(jackknife).all():
        return Interval(NOTHING, NOTHING, "undefined without one of the sources")
    kept = resampled[np.isfinite(resampled)]
    below = (np.mean(kept < value) + np.mean(kept <= value)) / 2
    edge = 0.5 / kept.size  # keeps the bias finite if all resamples are on one side
    bias = special.ndtri(np.clip(below, edge, 1 - edge))
    acceleration = _acceleration(jackknife)
    z = bias + special.ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(kept, special.ndtr(bias + z / (1 - acceleration * z)))
    return Interval(float(low), float(high))


def family_interval(over_sources: Interval, resampled: Array, families: int, *, level: float = LEVEL) -> Interval:
    """The interval over families: what another choice of as many families could give.

    Sources of one family resemble each other, so an interval over sources is too narrow for that question. Few families
    make coarse resamples, which are too narrow where families do not matter, so the interval reaches at each end as far
    as the wider of the two.

    Args:
        over_sources: The interval over sources.
        resampled: (b,) float64, the measure on resamples of whole families, NaN where undefined.
        families: The number of families.
        level: The confidence, in (0, 1).

    Returns:
        The interval; undefined for fewer than 3 families or where that over sources is.

    Example:
        >>> family_interval(Interval(-0.1, 0.5), np.linspace(0, 0.8, 101), 4)
        Interval(low=-0.1, high=0.78, reason='')
    """
    if families < FEWEST_FAMILIES:
        return Interval(NOTHING, NOTHING, f"{families} families, an interval over families needs {FEWEST_FAMILIES}")
    drawn = percentile_interval(resampled, level=level)
    if over_sources.reason or drawn.reason:
        return Interval(NOTHING, NOTHING, over_sources.reason or drawn.reason)
    return Interval(min(over_sources.low, drawn.low), max(over_sources.high, drawn.high))


def permutation_p(value: float, null: Array) -> float:
    """The one-sided permutation p-value (1 + hits) / (1 + b); a hit is a permuted pool that agrees at least as well.

    Args:
        value: The measure on the observed pool.
        null: (b,) float64, the measure with the Dice permuted among the sources.

    Returns:
        A number in (0, 1], or NaN if the measure is undefined.

    Example:
        >>> permutation_p(0.9, np.array([0.1, -0.2, 0.95]))
        0.5
    """
    if not np.isfinite(value) or not np.isfinite(null).all():
        return NOTHING
    return float((1 + (null >= value - ROUNDING).sum()) / (1 + null.size))


def _acceleration(jackknife: Array) -> float:
    """Efron's acceleration a: a sixth of the skewness of the jackknife values."""
    off = jackknife.mean() - jackknife
    spread = float((off**2).sum())
    return float((off**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0
