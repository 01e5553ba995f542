"""Split-half reliability of the truth.

The seeds of a target are split into two halves, and each half gives a mean Dice per source. The agreement between the
two rankings, averaged over all splits, is the reliability of HALF the seeds. Metrics are compared with the mean over
all seeds, which is more reliable: 2r / (1 + r) for Pearson (Spearman and Brown), by simulation for rank measures
(`analysis.truth.ceiling`). Halves of seeds and test cases are in `analysis.truth.halves`.

References:
    W. Brown, "Some experimental results in the correlation of mental abilities", Brit. J. Psychol. 3, 1910;
    C. Spearman, "Correlation calculated from faulty data", the same volume.
"""

import warnings

import numpy as np

from analysis.agreement.bootstrap import Array
from analysis.agreement.measure_table import KENDALL, Measure
from analysis.agreement.rank_measures import FEWEST_SOURCES, UndefinedAgreementWarning
from analysis.truth.halves import seed_halves

ALIKE = "all sources are alike in one half"
ONE_SEED = "1 seed, at least 2 are needed"


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
    value = float("nan") if reason else seed_halves(dice).agreement([measure])[measure.name]
    if np.isnan(value):
        reason = reason or f"{ALIKE} of the seeds"
        warnings.warn(f"the reliability is undefined: {reason}", UndefinedAgreementWarning, stacklevel=2)
    return value


def why_unreliable(dice: Array) -> str:
    """Return the reason why a truth of shape (n, s) has no reliability, or "" if it has."""
    n, s = dice.shape
    if n < FEWEST_SOURCES:
        return f"{n} source{'' if n == 1 else 's'}, at least {FEWEST_SOURCES} are needed"
    if s == 1:
        return ONE_SEED
    return "" if s else "0 seeds, at least 2 are needed"


def spearman_brown(half: Array, *, lengthening: float = 2.0) -> Array:
    """The reliability of the whole by Pearson from that of a half, k r / (1 + (k - 1) r); odd in r.

    Args:
        half: r, of any shape.
        lengthening: k, the variance of the noise in a half over that in the whole.

    Example:
        >>> spearman_brown(np.array([0.5, -0.5])).round(4).tolist()
        [0.6667, -0.6667]
    """
    return lengthening * half / (1 + (lengthening - 1) * np.abs(half))
