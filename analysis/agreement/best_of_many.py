"""p-values corrected for having looked at many metrics: single-step max-T of Westfall and Young.

All metrics are measured on the same draws, so the draws show how high the best of them gets by chance, with the
correlation between the metrics:

    t_j = (value_j - mean of null_j) / sd of null_j,    p_j = P(max over k of t_k in a draw of the null >= t_j)

This controls the probability of any false claim. A metric that was named before the results were known needs no
correction.

Reference: P. H. Westfall, S. S. Young, "Resampling-Based Multiple Testing", Wiley 1993.
"""

from dataclasses import dataclass

import numpy as np

from analysis.agreement.bootstrap import Array
from analysis.agreement.intervals import ROUNDING, UNDEFINED_SHARE


def max_t_p(values: Array, null: Array, *, two_sided: bool = False) -> Array:
    """The corrected p-value of each metric.

    Args:
        values: (m,) float64, the agreement of m metrics, or their difference from another; NaN where undefined.
        null: (m, b) float64, the same in b draws of the null that the metrics share.
        two_sided: Whether a value far below the null counts as well.

    Returns:
        (m,) float64 in (0, 1]; NaN where the value is undefined or no draw of its null differs from another.

    Example:
        >>> null = np.array([[0.0, 1.0, -1.0, 0.0], [0.0, -1.0, 1.0, 0.0]])
        >>> max_t_p(np.array([2.0, 0.5]), null).tolist()
        [0.2, 0.6]
    """
    p = np.full(len(values), np.nan)
    known = np.isfinite(values) & (np.isfinite(null).mean(axis=1) >= 1 - UNDEFINED_SHARE)
    null = null[known]
    null = null[:, np.isfinite(null).all(axis=0)]
    if not null.size:
        return p
    centre, spread = null.mean(axis=1, keepdims=True), null.std(axis=1, keepdims=True)
    spread[spread <= ROUNDING] = 0.0  # draws that differ by rounding only
    with np.errstate(invalid="ignore", divide="ignore"):
        t, draws = (values[known, None] - centre) / spread, (null - centre) / spread
    if two_sided:
        t, draws = np.abs(t), np.abs(draws)
    highest = np.where(spread > 0, draws, -np.inf).max(axis=0)
    hits = (highest >= t - ROUNDING).sum(axis=1)
    p[known] = np.where(spread[:, 0] > 0, (1 + hits) / (1 + null.shape[1]), np.nan)
    return p


@dataclass(frozen=True)
class BestByChance:
    """How high the best of several metrics agrees by chance.

    Attributes:
        metrics: The number of metrics.
        mean: The mean over the draws of the null of the highest agreement; NaN without metrics.
        high: Its 95% point.
    """

    metrics: int
    mean: float
    high: float


def best_by_chance(null: Array) -> BestByChance:
    """The highest agreement of several metrics in draws of the null.

    Args:
        null: (m, b) float64, the agreement of m metrics in b draws that they share; a metric with a NaN is left out.

    Example:
        >>> best_by_chance(np.array([[0.0, 0.2], [0.1, -0.1]]))
        BestByChance(metrics=2, mean=0.15..., high=0.195...)
    """
    known = null[np.isfinite(null).all(axis=1)]
    if not known.size:
        return BestByChance(len(known), float("nan"), float("nan"))
    highest = known.max(axis=0)
    return BestByChance(len(known), float(highest.mean()), float(np.quantile(highest, 0.95)))
