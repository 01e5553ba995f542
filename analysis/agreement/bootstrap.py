"""The measures of agreement for many resamples at once.

A resample of the sources is a vector of counts: how often each source was drawn (all ones: the pool itself). Two copies
of a source are tied in score and in Dice, so a rank measure uses only pairs of different sources, and each pair (i, j)
is weighted by the product of its counts. With A_ij = sign(x_i - x_j) sign(y_i - y_j), |.| of the two factors as tie
masks and c the counts,

    tau-b    = c'Ac / sqrt(c'|A_x|c  c'|A_y|c)
    weighted = w'Ac / sqrt(w'|A_x|c  w'|A_y|c),   w_i = sum of 1/(1 + rank) over the copies of i

so thousands of resamples need only a few matrix products and no sort. Every function equals the function of the same
name in `analysis.agreement.rank_measures` applied to the resampled pool.

Shapes: scores, dice and counts are each (n,) or (b, n), b resamples of n sources, and broadcast; the result is (b,)
(or a 0-d array). It is NaN for resamples on which the measure is undefined.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Measure = Callable[[Array, Array, Counts], Array]


def pearson(scores: Array, dice: Array, counts: Counts) -> Array:
    """Pearson's r of each resample.

    Args:
        scores: (n,) or (b, n) float64, finite.
        dice: (n,) or (b, n) float64, finite.
        counts: (n,) or (b, n) int64, how often each source was drawn.

    Returns:
        (b,) float64.

    Example:
        >>> x, y = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3])
        >>> pearson(x, y, np.array([[1, 1, 1], [2, 0, 1]])).round(6).tolist()
        [1.0, 1.0]
    """
    x, y = _centred(scores, counts), _centred(dice, counts)
    varies = _varies(scores, counts) & _varies(dice, counts)  # exact, unlike a test of the rounded variances
    with np.errstate(divide="ignore", invalid="ignore"):
        r = _total(counts, x * y) / np.sqrt(_total(counts, x * x) * _total(counts, y * y))
    return np.where(varies, np.clip(r, -1, 1), np.nan)


def kendall(scores: Array, dice: Array, counts: Counts) -> Array:
    """Kendall's tau-b of each resample; arguments and result as in `pearson`."""
    return _tau(_signs(scores), _signs(dice), counts, counts)


def weighted_kendall(scores: Array, dice: Array, counts: Counts) -> Array:
    """The weighted tau of each resample (hyperbolic, additive, both rankings averaged); as in `pearson`."""
    x, y = _signs(scores), _signs(dice)
    by_score = _tau(x, y, _rank_weights(scores, dice, counts), counts)
    by_dice = _tau(x, y, _rank_weights(dice, scores, counts), counts)
    return (by_score + by_dice) / 2


def spearman(scores: Array, dice: Array, counts: Counts) -> Array:
    """Spearman's rho of each resample; arguments and result as in `pearson`."""
    return pearson(_mid_ranks(scores, counts), _mid_ranks(dice, counts), counts)


def rel_at_1(scores: Array, dice: Array, counts: Counts) -> Array:
    """rel@1 of each resample; arguments and result as in `pearson`."""
    return _rel(scores, dice, counts, k=1)


def rel_at_3(scores: Array, dice: Array, counts: Counts) -> Array:
    """rel@3 of each resample; arguments and result as in `pearson`."""
    return _rel(scores, dice, counts, k=3)


def top1_regret(scores: Array, dice: Array, counts: Counts) -> Array:
    """Top-1 regret of each resample, in the unit of `dice`; arguments and result as in `pearson`."""
    with np.errstate(invalid="ignore"):  # inf - inf for a resample without any source of the pool
        return _best(dice, counts > 0) - _best_of_top(scores, dice, counts, k=1)


def ndcg(scores: Array, dice: Array, counts: Counts) -> Array:
    """NDCG of each resample; arguments and result as in `pearson`."""
    worst = -_best(-dice, counts > 0)
    gain = dice - worst[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return _total(counts, gain * _discounts(scores, counts)) / _total(counts, gain * _discounts(dice, counts))


def _total(counts: Counts, values: Array) -> Array:
    """(b,) the sum of values over the copies."""
    total: Array = (counts * values).sum(axis=-1)
    return total


def _centred(values: Array, counts: Counts) -> Array:
    """Values minus the mean of their resample; centred on the pool first, so a large offset loses no precision."""
    near = values - values.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # 0 / 0 for a resample without any source of the pool
        centred: Array = near - (_total(counts, near) / counts.sum(axis=-1))[..., None]
    return centred


def _varies(values: Array, counts: Counts) -> NDArray[np.bool_]:
    """(b,) whether two different values were drawn."""
    varies: NDArray[np.bool_] = _best(values, counts > 0) > -_best(-values, counts > 0)
    return varies


def _signs(values: Array) -> Array:
    """(..., n, n) sign(v_i - v_j)."""
    return np.sign(values[..., :, None] - values[..., None, :])


def _sum_over_pairs(left: Array | Counts, pairs: Array, right: Counts) -> Array:
    """(b,) left' pairs right, with symmetric pairs; one matrix product if all resamples share the pairs."""
    inner = right @ pairs if pairs.ndim == 2 else (pairs @ right[..., None])[..., 0]
    total: Array = (left * inner).sum(axis=-1)
    return total


def _tau(x: Array, y: Array, weights: Array | Counts, counts: Counts) -> Array:
    """Tau-b or weighted tau by the module's formula, from the signs of the differences."""
    agree = _sum_over_pairs(weights, x * y, counts)
    untied_x, untied_y = _sum_over_pairs(weights, np.abs(x), counts), _sum_over_pairs(weights, np.abs(y), counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(agree / np.sqrt(untied_x * untied_y), -1, 1)


def _rank_weights(first: Array, second: Array, counts: Counts) -> Array:
    """(b, n) sum of 1/(1 + rank) over the copies of each source, ranked by descending `first`, ties by `second`."""
    first, second = np.broadcast_arrays(first, second)
    order = np.lexsort((second, first), axis=-1)[..., ::-1]
    order, counts = np.broadcast_arrays(order, counts)
    drawn = np.take_along_axis(counts, order, axis=-1)
    stop = drawn.cumsum(axis=-1)
    harmonic = _cumulated(1 / np.arange(1, stop.max() + 1))
    weights = np.empty(counts.shape)
    np.put_along_axis(weights, order, harmonic[stop] - harmonic[stop - drawn], axis=-1)
    return weights


def _above_and_level(values: Array, counts: Counts) -> tuple[Array, Array]:
    """(b, n) the number of copies above each source, and tied with it (including its own)."""
    signs = _signs(values)
    above, level = (signs < 0).astype(np.float64), (signs == 0).astype(np.float64)
    if values.ndim == 1:
        return counts @ above.T, counts @ level
    return (above @ counts[..., None])[..., 0], (level @ counts[..., None])[..., 0]


def _mid_ranks(values: Array, counts: Counts) -> Array:
    """(b, n) mid-ranks from the top, negated so that they increase with the values."""
    above, level = _above_and_level(values, counts)
    return -(above + (level + 1) / 2)


def _discounts(values: Array, counts: Counts) -> Array:
    """(b, n) the discount of each source: the mean over the positions that it shares with tied sources."""
    above, level = (part.astype(np.int64) for part in _above_and_level(values, counts))
    cumulated = _cumulated(1 / np.log2(np.arange(2, counts.sum(axis=-1).max() + 2)))
    discounts: Array = (cumulated[above + level] - cumulated[above]) / np.maximum(level, 1)
    return discounts


def _cumulated(values: Array) -> Array:
    """(n + 1,) the cumulative sums, starting with 0."""
    return np.concatenate(([0.0], values.cumsum()))


def _best(dice: Array, among: NDArray[np.bool_]) -> Array:
    """(b,) the best Dice in the mask `among`."""
    best: Array = np.where(among, dice, -np.inf).max(axis=-1)
    return best


def _best_of_top(scores: Array, dice: Array, counts: Counts, *, k: int) -> Array:
    """(b,) the best Dice among the top k copies; equal scores are ordered by ascending Dice."""
    if scores.ndim == dice.ndim == 1:  # all resamples share one order
        order = np.lexsort((dice, -scores))
        drawn = counts[..., order]
        return _best(dice[order], (drawn > 0) & (drawn.cumsum(axis=-1) - drawn < k))
    scores, dice, counts = np.broadcast_arrays(scores, dice, counts)
    order = np.lexsort((dice, -scores), axis=-1)
    drawn = np.take_along_axis(counts, order, axis=-1)
    in_top = (drawn > 0) & (drawn.cumsum(axis=-1) - drawn < k)
    return _best(np.take_along_axis(dice, order, axis=-1), in_top)


def _rel(scores: Array, dice: Array, counts: Counts, *, k: int) -> Array:
    best = _best(dice, counts > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(best > 0, _best_of_top(scores, dice, counts, k=k) / best, np.nan)
