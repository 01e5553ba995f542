"""The measures of agreement for many resamples at once.

A resample of the sources is a vector of counts: how often each source was drawn (all ones: the pool itself). Two copies
of a source are tied in score and in Dice, so a rank measure uses only pairs of different sources, and each pair (i, j)
is weighted by the product of its counts. With A_ij = sign(x_i - x_j) sign(y_i - y_j), |.| of the two factors as tie
masks and c the counts,

    tau-b    = c'Ac / sqrt(c'|A_x|c  c'|A_y|c)
    weighted = w'Ac / sqrt(w'|A_x|c  w'|A_y|c),   w_i = sum of 1/(1 + rank) over the copies of i

so thousands of resamples need only a few matrix products, which several measures share, and no sort. The entries of
the matrices are -1, 0 and 1 and their sums whole numbers below 2^24, which float32 holds exactly. Every function equals
the function of the same name in `analysis.agreement.rank_measures` applied to the resampled pool; its result is (b,)
float64 (or a 0-d array), NaN for resamples on which the measure is undefined.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
Pairs = NDArray[np.float32]
Number = TypeVar("Number", bound=np.number)


@dataclass(frozen=True)
class Side:
    """The scores or the Dice of resamples, with what several measures need of them.

    Attributes:
        values: (n,) or (b, n) float64, finite.
        counts: (n,) or (b, n) int64, how often each source was drawn.
    """

    values: Array
    counts: Counts

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """The sources by ascending value, ties in any order."""
        return np.argsort(self.values, axis=-1)

    @cached_property
    def levels(self) -> Pairs:
        """(..., n) whole numbers that rise with the values, from 0, and are equal where these are."""
        rises = np.diff(_ordered(self.values, self.order), axis=-1, prepend=np.inf) > 0
        return _ordered(rises.cumsum(axis=-1, dtype=np.float32), np.argsort(self.order, axis=-1))

    @cached_property
    def tied(self) -> bool:
        """Whether two sources are tied in any of the pools."""
        return bool((self.levels.max(axis=-1) < self.values.shape[-1] - 1).any())

    @cached_property
    def signs(self) -> Pairs:
        """(..., n, n) sign(v_i - v_j); subtracting levels takes half the time of subtracting float64 values."""
        return cast("Pairs", np.sign(self.levels[..., :, None] - self.levels[..., None, :]))

    @cached_property
    def untied(self) -> Array:
        """|A|c, (..., n): the copies that differ from each source."""
        if self.tied:
            return _over_pairs(np.abs(self.signs), self.counts)
        return cast("Array", (self.counts.sum(axis=-1, keepdims=True) - self.counts).astype(np.float64))

    @cached_property
    def standing(self) -> tuple[Array, Array]:
        """(..., n) the copies above each source, and tied with it (including its own)."""
        ahead = _over_pairs(self.signs, self.counts)  # copies above minus copies below
        return (self.untied + ahead) / 2, self.counts.sum(axis=-1, keepdims=True) - self.untied

    @cached_property
    def rank_weights(self) -> Array:
        """(..., n) the sum of 1/(1 + rank) over the copies of each source, ranked by descending value, without ties."""
        return _rank_weights(self.counts, self.order[..., ::-1])

    @cached_property
    def ends(self) -> tuple[Array, Array]:
        """(b,) the lowest and the highest value drawn."""
        return -_best(-self.values, self.counts > 0), _best(self.values, self.counts > 0)


@dataclass(frozen=True)
class Resamples:
    """Resamples of a pool of n sources; values and counts of both sides broadcast.

    Attributes:
        x: The scores.
        y: The Dice, with the same counts.
    """

    x: Side
    y: Side

    @property
    def counts(self) -> Counts:
        """(n,) or (b, n) how often each source was drawn."""
        return self.y.counts

    @cached_property
    def concordant(self) -> Array:
        """Ac, (..., n): for each source the concordant minus the discordant copies of others."""
        return _over_pairs(self.x.signs * self.y.signs, self.counts)

    @cached_property
    def by_score(self) -> tuple[Array, Counts, Counts]:
        """The Dice by descending score, ties by ascending Dice; how often each was drawn; the copies before it."""
        scores, dice = np.broadcast_arrays(self.x.values, self.y.values)
        order = np.lexsort((dice, -scores), axis=-1)  # (n,) if all resamples share it
        drawn = _ordered(self.counts, order)
        return _ordered(dice, order), drawn, drawn.cumsum(axis=-1) - drawn

    def pearson(self, x: Array, y: Array) -> Array:
        """(b,) Pearson's r of values that are tied where scores and Dice are; NaN if either does not vary."""
        x, y = _centred(x, self.counts), _centred(y, self.counts)
        (worst_x, best_x), (worst_y, best_y) = self.x.ends, self.y.ends
        varies = (best_x > worst_x) & (best_y > worst_y)  # exact, unlike a test of the rounded variances
        with np.errstate(divide="ignore", invalid="ignore"):
            r = _total(self.counts, x * y) / np.sqrt(_total(self.counts, x * x) * _total(self.counts, y * y))
        return np.where(varies, np.clip(r, -1, 1), np.nan)

    def tau(self, weights: Array | Counts) -> Array:
        """(b,) tau-b or weighted tau by the module's formula."""
        untied_x, untied_y = (_total(weights, side.untied) for side in (self.x, self.y))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.clip(_total(weights, self.concordant) / np.sqrt(untied_x * untied_y), -1, 1)

    def best_of_top(self, k: int) -> Array:
        """(b,) the best Dice among the top k copies; equal scores are ordered by ascending Dice."""
        dice, drawn, before = self.by_score
        return _best(dice, (drawn > 0) & (before < k))


def pearson(resamples: Resamples) -> Array:
    """Pearson's r of each resample.

    Example:
        >>> counts = np.array([[1, 1, 1], [2, 0, 1]])
        >>> x, y = Side(np.array([1.0, 2.0, 3.0]), counts), Side(np.array([0.1, 0.2, 0.3]), counts)
        >>> pearson(Resamples(x, y)).round(6).tolist()
        [1.0, 1.0]
    """
    return resamples.pearson(resamples.x.values, resamples.y.values)


def kendall(resamples: Resamples) -> Array:
    """Kendall's tau-b of each resample."""
    return resamples.tau(resamples.counts)


def weighted_kendall(resamples: Resamples) -> Array:
    """The weighted tau of each resample (hyperbolic, additive, both rankings averaged)."""
    x, y = resamples.x, resamples.y
    return (resamples.tau(_weights_by(x, y)) + resamples.tau(_weights_by(y, x))) / 2


def spearman(resamples: Resamples) -> Array:
    """Spearman's rho of each resample: Pearson's r of the mid-ranks, negated so that they increase with the values."""
    x, y = (-(above + (level + 1) / 2) for above, level in (resamples.x.standing, resamples.y.standing))
    return resamples.pearson(x, y)


def rel_at_k(resamples: Resamples, *, k: int) -> Array:
    """rel@k of each resample."""
    _, best = resamples.y.ends
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(best > 0, resamples.best_of_top(k) / best, np.nan)


def top1_regret(resamples: Resamples) -> Array:
    """Top-1 regret of each resample, in the unit of the Dice."""
    _, best = resamples.y.ends
    with np.errstate(invalid="ignore"):  # inf - inf for a resample without any source of the pool
        return best - resamples.best_of_top(1)


def ndcg(resamples: Resamples) -> Array:
    """NDCG of each resample; tied sources share the mean of the discounts of their positions."""
    counts, (worst, _) = resamples.counts, resamples.y.ends
    gain = resamples.y.values - worst[..., None]
    cumulated = _cumulated(1 / np.log2(np.arange(2, counts.sum(axis=-1).max() + 2)))

    def gained(side: Side) -> Array:
        above, level = (part.astype(np.int64) for part in side.standing)
        return _total(counts, gain * ((cumulated[above + level] - cumulated[above]) / np.maximum(level, 1)))

    with np.errstate(divide="ignore", invalid="ignore"):
        return gained(resamples.x) / gained(resamples.y)


def _over_pairs(pairs: Pairs, counts: Counts) -> Array:
    """(..., n) the sum of pairs_ji c_j over j; one matrix product if all resamples share the pairs."""
    copies = counts.astype(np.float32)
    return (copies @ pairs if pairs.ndim == 2 else (copies[..., None, :] @ pairs)[..., 0, :]).astype(np.float64)


def _ordered(values: NDArray[Number], order: NDArray[np.intp]) -> NDArray[Number]:
    """(..., n) the values of each resample in its order, or in the order (n,) that all share."""
    if order.ndim == 1:
        return values.take(order, axis=-1)
    values, order = np.broadcast_arrays(values, order)
    return np.take_along_axis(values, order, axis=-1)


def _total(counts: Array | Counts, values: Array) -> Array:
    """(b,) the sum of values over the copies."""
    return cast("Array", np.vecdot(counts, values))


def _centred(values: Array, counts: Counts) -> Array:
    """Values minus the mean of their resample; centred on the pool first, so a large offset loses no precision."""
    near = values - values.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # 0 / 0 for a resample without any source of the pool
        centred: Array = near - (_total(counts, near) / counts.sum(axis=-1))[..., None]
    return centred


def _weights_by(first: Side, second: Side) -> Array:
    """(..., n) the rank weights by `first`, ties ranked by `second`."""
    if not first.tied:
        return first.rank_weights
    order = np.lexsort(np.broadcast_arrays(second.values, first.values), axis=-1)
    return _rank_weights(first.counts, order[..., ::-1])


def _rank_weights(counts: Counts, order: NDArray[np.intp]) -> Array:
    """(..., n) the sum of 1/(1 + rank) over the copies of each source in the order of their ranks."""
    drawn = _ordered(counts, order)
    stop = drawn.cumsum(axis=-1)
    harmonic = _cumulated(1 / np.arange(1, stop.max() + 1))
    return _ordered(harmonic[stop] - harmonic[stop - drawn], np.argsort(order, axis=-1))


def _cumulated(values: Array) -> Array:
    return np.concatenate(([0.0], values.cumsum()))


def _best(values: Array, among: NDArray[np.bool_]) -> Array:
    """(b,) the highest value in the mask `among`."""
    return cast("Array", np.where(among, values, -np.inf).max(axis=-1))
