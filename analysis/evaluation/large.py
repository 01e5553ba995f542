"""Leave-one-out values of the measures of agreement, and linearised resamples for many sources.

Resampling n sources with all their pairs costs n^2 per draw. Above `analysis.agreement.measure_table.LARGE_POOL`
sources the pairs are visited only once, and a resample with counts c is linearised, with T_-i the measure without
source i:

    T(c) = T + sum_i (c_i - 1) (mean of the T_-j - T_-i)

on the scale of Fisher's z for measures in [-1, 1]. The error is of relative order 1/n; tests compare the result with
plain resamples.

With s_ij = sign(x_i - x_j), t_ij = sign(y_i - y_j) and v a vector of weights, only the row sums of s t v, |s| v and
|t| v are needed; without source k the sums of the others lose one term, and the ranks below k move up by one.

References:
    Jackknife and infinitesimal jackknife: B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analysis.evaluation.ranked import Ranked
from analysis.evaluation.untied import pair_measures

Array = NDArray[np.float64]
Signs = NDArray[np.float32]
BENT = ("pearson", "kendall", "weighted_kendall", "spearman")  # linearised on the scale of Fisher's z


def leave_one_out(x: Ranked, y: Ranked) -> dict[str, Array]:
    """Every smooth measure without each source in turn.

    Args:
        x: The scores of n sources.
        y: Their Dice.

    Returns:
        pearson, kendall, weighted_kendall, spearman, ndcg -> (n,) float64, NaN where undefined.

    Example:
        >>> x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.3, 0.2, 0.4])
        >>> leave_one_out(Ranked(x), Ranked(y))["kendall"].round(3).tolist()
        [0.333, 1.0, 1.0, 0.333]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = _with_ties(x, y) if x.tied or y.tied else pair_measures(x.values, y.values)
        return {"pearson": _pearson(x.values, y.values), **pairs, "ndcg": _ndcg(x.values, y.values)}


def linearised(value: Mapping[str, float], leave: Mapping[str, Array], deviations: Array) -> dict[str, Array]:
    """The measures on resamples, linearised from their leave-one-out values.

    Args:
        value: Measure -> its value on the pool; may have more measures than `leave`.
        leave: Measure -> (n,) float64, the measure without each source.
        deviations: (b, n) float64, how often each source was drawn, minus 1.

    Returns:
        Measure -> (b,) float64, NaN if the measure is NaN. Measures in [-1, 1] stay in this range and are skewed like
        plain resamples.

    Example:
        >>> found = linearised({"ndcg": 0.5}, {"ndcg": np.array([0.4, 0.6])}, np.array([[0.0, 0.0], [1.0, -1.0]]))
        >>> found["ndcg"].tolist()
        [0.5, 0.7]
    """
    moves = deviations @ np.stack([values.mean() - values for values in leave.values()], axis=1)
    drawn = {}
    for name, move in zip(leave, moves.T, strict=True):
        at = value[name]
        bent = name in BENT and abs(at) < 1
        drawn[name] = np.tanh(np.arctanh(at) + move / (1 - at**2)) if bent else at + move
    return drawn


def _pearson(x: Array, y: Array) -> Array:
    x, y = x - x.mean(), y - y.mean()
    n = len(x)

    def without(product: Array, left: Array, right: Array) -> Array:
        """The centred sum of products of the others, whose means change by -left / (n - 1) and -right / (n - 1)."""
        rest: Array = product.sum() - product - left * right / (n - 1)
        return rest

    r: Array = without(x * y, x, y) / np.sqrt(without(x * x, x, x) * without(y * y, y, y))
    return np.clip(r, -1, 1)


def _with_ties(x: Ranked, y: Ranked) -> dict[str, Array]:
    """The result of `analysis.evaluation.untied.pair_measures` from all pairs, for values with ties."""
    both = x.signs * y.signs
    agree = both.sum(axis=1, dtype=np.float64)
    weighted = (_weighted(x, y, both, x, y) + _weighted(x, y, both, y, x)) / 2
    return {"kendall": _kendall(x, y, agree), "weighted_kendall": weighted, "spearman": _spearman(x, y, agree)}


def _kendall(x: Ranked, y: Ranked, agree: Array) -> Array:
    untied = [side.untied.sum(axis=1, dtype=np.float64) for side in (x, y)]
    rest = [total.sum() - 2 * total for total in (agree, *untied)]
    tau: Array = rest[0] / np.sqrt(rest[1] * rest[2])
    return np.clip(tau, -1, 1)


def _weighted(x: Ranked, y: Ranked, both: Signs, first: Ranked, second: Ranked) -> Array:
    """Weighted tau ranked by `first`, ties by `second`, without each source in turn."""
    order = np.lexsort((second.values, first.values))[::-1]
    rest = [_weighted_rest(pairs[np.ix_(order, order)]) for pairs in (both, x.untied, y.untied)]
    tau = np.empty(len(order))
    tau[order] = np.clip(rest[0] / np.sqrt(rest[1] * rest[2]), -1, 1)
    return tau


def _weighted_rest(pairs: Signs) -> Array:
    """(n,) sum_i w_i sum_j pairs_ij over i, j other than k, sources in rank order, with ranks below k moved up."""
    n = len(pairs)
    weights = 1 / np.arange(1, n + 1)
    moved = np.concatenate(([0.0], weights[:-1]))  # the weight of each source once one above it is gone
    rows = pairs.sum(axis=1, dtype=np.float64)
    above = np.concatenate(([0.0], (weights * rows).cumsum()[:-1]))
    below = (moved * rows)[::-1].cumsum()[::-1] - moved * rows
    lower = np.tril(pairs, -1)  # pairs are symmetric: column k is for sources below k, in the transpose for those above
    lost = lower @ weights.astype(np.float32) + lower.T @ moved.astype(np.float32)
    rest: Array = above + below - lost
    return rest


def _spearman(x: Ranked, y: Ranked, agree: Array) -> Array:
    """Spearman's rho from centred mid-ranks: without source k that of i is (sums_i - sign_ik) / 2."""

    def cross(left: Ranked, right: Ranked) -> Array:
        product: Array = (left.sums * right.sums).sum() - left.sums * right.sums
        # sum over i of sums_i sign_ik = -(signs @ sums)_k
        return product + right.signs @ left.sums + left.signs @ right.sums

    covariance = cross(x, y) + agree
    variances = [cross(side, side) + side.untied.sum(axis=1, dtype=np.float64) for side in (x, y)]
    rho: Array = covariance / np.sqrt(variances[0] * variances[1])
    return np.clip(rho, -1, 1)


def _ndcg(x: Array, y: Array) -> Array:
    """NDCG; without the worst source all gains decrease by its gap to the next, as gains are relative to the worst."""
    n = len(y)
    worst = np.sort(y)[:2]
    gap = np.where((np.arange(n) == y.argmin()), worst[1] - worst[0], 0.0) * (n - 1 > 0)
    gain = y - worst[0]
    discounts = 1 / np.log2(np.arange(2, n + 1))
    fallen = gap * discounts.sum()
    ratio: Array = (_gained(x, gain) - fallen) / (_gained(y, gain) - fallen)
    return ratio


def _gained(values: Array, gain: Array) -> Array:
    """(n,) the discounted gain without source k, ranked by descending values; ties share their mean discount."""
    levels, group, size = np.unique(-values, return_inverse=True, return_counts=True)
    stop = size.cumsum()
    start = stop - size
    total = np.concatenate(([0.0], (1 / np.log2(np.arange(2, len(values) + 2))).cumsum()))
    gains = np.bincount(group, weights=gain, minlength=len(levels))
    here = gains * (total[stop] - total[start]) / size
    up = gains * (total[stop - 1] - total[np.maximum(start - 1, 0)]) / size
    alone = (total[stop - 1] - total[start]) / np.maximum(size - 1, 1)
    before = here.cumsum() - here
    after = up[::-1].cumsum()[::-1] - up
    found: Array = before[group] + after[group] + (gains[group] - gain) * alone[group]
    return found
