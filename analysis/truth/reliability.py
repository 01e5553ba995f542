"""Split-half reliability of the truth.

The seeds of a target are split into two halves, and each half gives a mean Dice per source. The reliability r is the
agreement between the two rankings, averaged over all splits. This is the reliability of HALF the seeds; metrics are
compared with the mean over all seeds, which is more reliable (Pearson: 2r / (1 + r), Spearman-Brown).
`analysis.truth.ceiling` derives the ceiling for a metric.

The interval is a percentile bootstrap over the sources: one draw of the union of all pools is used for every target (a
source is in several pools), and the mean over targets is taken within each draw. Seeds and targets are fixed.

References:
    W. Brown, "Some experimental results in the correlation of mental abilities", Brit. J. Psychol. 3, 1910;
    C. Spearman, "Correlation calculated from faulty data", the same volume.
"""

import warnings
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.measure_table import KENDALL, Measure
from analysis.agreement.rank_measures import FEWEST_SOURCES, UndefinedAgreementWarning

Array = NDArray[np.float64]
MOST_SPLITS = 500  # 12 seeds have 462 splits; of more, evenly spaced splits are used


def split_half_reliability(dice: Array, *, measure: Measure = KENDALL) -> float:
    """Mean agreement over all splits between the source rankings of the two halves of the seeds.

    Args:
        dice: (n, s) float64, the Dice of n sources with s seeds each.
        measure: The measure of agreement.

    Returns:
        A number in [-1, 1], or NaN with an `UndefinedAgreementWarning` for fewer than 2 seeds or 3 sources, or if all
        sources are equal in one of the halves.

    Raises:
        ValueError: `dice` is not a finite matrix.

    Example:
        >>> split_half_reliability(np.array([[0.1, 0.2], [0.3, 0.3], [0.5, 0.4]]))
        1.0
    """
    if dice.ndim != 2 or not np.isfinite(dice).all():
        raise ValueError(f"`dice` must be a finite matrix of shape (n, s), got shape {dice.shape}")
    reason = why_unreliable(dice)
    value = float("nan") if reason else float(resampled_reliability(dice, np.ones((1, len(dice)), int), measure)[0])
    if np.isnan(value):
        reason = reason or "all sources are alike in one half of the seeds"
        warnings.warn(f"the reliability is undefined: {reason}", UndefinedAgreementWarning, stacklevel=2)
    return value


def why_unreliable(dice: Array) -> str:
    """Return the reason why a truth of shape (n, s) has no reliability, or "" if it has."""
    n, s = dice.shape
    if n < FEWEST_SOURCES:
        return f"{n} sources, at least {FEWEST_SOURCES} are needed"
    return "" if s > 1 else f"{s} seeds, at least 2 are needed"


def resampled_reliability(dice: Array, counts: NDArray[np.int64], measure: Measure) -> Array:
    """The split-half reliability of each resample of the sources.

    Args:
        dice: (n, s) float64, s >= 2.
        counts: (b, n) int64, how often each source was drawn.
        measure: The measure of agreement, a correlation.

    Returns:
        (b,) float64, NaN if a split is undefined.
    """
    total = np.zeros(len(counts))
    halves = splits(dice.shape[1])
    for first in halves:
        total += measure.of_resamples(dice[:, first].mean(axis=1), dice[:, ~first].mean(axis=1), counts)
    return total / len(halves)


def splits(seeds: int) -> list[NDArray[np.bool_]]:
    """All splits of the seeds into halves (s//2 and the rest), each as a mask of the first half.

    Args:
        seeds: s, at least 2.

    Returns:
        Masks of shape (s,); at most 500, evenly spaced if there are more.

    Example:
        >>> [mask.astype(int).tolist() for mask in splits(4)]
        [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    """
    half = seeds // 2
    number = comb(seeds, half)
    if seeds == 2 * half:
        number //= 2  # a half and its complement are the same split, and the first masks contain one of each
    step = max(1, -(-number // MOST_SPLITS))
    masks = []
    for place, chosen in enumerate(combinations(range(seeds), half)):
        if place >= number:
            break
        if place % step == 0:
            masks.append(np.isin(np.arange(seeds), chosen))
    return masks
