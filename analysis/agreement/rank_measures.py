"""Measures of agreement between the scores and the Dice of one pool.

Every function takes the scores and the Dice of the n sources of one target, in the same order, and returns one number;
higher is better except for `top1_regret`. The result is NaN, with an `UndefinedAgreementWarning` that gives the reason,
for fewer than three sources, for a score or Dice that is not finite, and if all scores or all Dice are equal. No source
is dropped here (see `analysis.evaluation.evaluate` for that).

`analysis.agreement.bootstrap` has the same measures for many resamples at once; tests check that both agree.

References:
    Kendall's tau-b: M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33(3), 1945.
    Weighted tau: S. Vigna, "A weighted correlation index for rankings with ties", WWW 2015, arXiv 1404.3325.
    rel@k: Z. Li et al., "Ranking Neural Checkpoints", CVPR 2021, arXiv 2011.11200.
    NDCG: K. Jarvelin, J. Kekalainen, ACM Transactions on Information Systems 20(4), 2002, doi 10.1145/582415.582418.
"""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

FEWEST_SOURCES = 3  # two sources always agree or disagree completely


class UndefinedAgreementWarning(UserWarning):
    """A measure of agreement is NaN; the message says why."""


def why_undefined(scores: ArrayLike, dice: ArrayLike) -> str:
    """Return the reason why no measure of agreement is defined, or "" if all are.

    Args:
        scores: (n,) float, one score per source.
        dice: (n,) float, the Dice of the same sources.

    Returns:
        The reason, or "".

    Raises:
        ValueError: The two are not vectors of the same length.

    Example:
        >>> why_undefined([1.0, 1.0, 1.0], [0.2, 0.4, 0.6])
        'all scores are alike'
    """
    x, y = _pair(scores, dice)
    if x.size < FEWEST_SOURCES:
        return f"{x.size} sources, at least {FEWEST_SOURCES} are needed"
    for name, values in (("score", x), ("Dice", y)):
        if bad := int((~np.isfinite(values)).sum()):
            return f"the {name} of {bad} of {values.size} sources is not finite"
        if np.ptp(values) == 0:
            return f"all {'scores' if name == 'score' else 'Dice'} are alike"
    return ""


def pearson(scores: ArrayLike, dice: ArrayLike) -> float:
    """Pearson's r = cov(x, y) / (sd(x) sd(y)).

    Args:
        scores: (n,) float, one score per source.
        dice: (n,) float, the Dice of the same sources.

    Returns:
        A number in [-1, 1], or NaN.

    Raises:
        ValueError: The two are not vectors of the same length.

    Example:
        >>> round(pearson([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4]), 3)
        0.8
    """
    return _defined("pearson", scores, dice, lambda x, y: stats.pearsonr(x, y).statistic)


def kendall(scores: ArrayLike, dice: ArrayLike) -> float:
    """Kendall's tau-b = (concordant - discordant) / sqrt(pairs untied in x * pairs untied in y).

    Args, result and errors as in `pearson`.

    Example:
        >>> round(kendall([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4]), 3)
        0.667
    """
    return _defined("kendall", scores, dice, lambda x, y: stats.kendalltau(x, y).statistic)


def weighted_kendall(scores: ArrayLike, dice: ArrayLike, *, rank: bool | None = True) -> float:
    """Vigna's weighted tau with additive hyperbolic weights: errors among the best sources count most.

    A pair (i, j) has weight 1/(1 + rank_i) + 1/(1 + rank_j), where rank 0 is the best.

    Args:
        scores: As in `pearson`, and so are result and errors.
        dice: As in `pearson`.
        rank: True ranks by score (ties by Dice), then by Dice (ties by score), and averages the two taus: the usual
            choice, and symmetric. None ranks only by score. False uses the order of the sources as given.

    Example:
        >>> round(weighted_kendall([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4]), 3)
        0.733
    """
    return _defined("weighted_kendall", scores, dice, lambda x, y: stats.weightedtau(x, y, rank=rank).statistic)


def spearman(scores: ArrayLike, dice: ArrayLike) -> float:
    """Spearman's rho: Pearson's r of the ranks, with tied values at their mean rank.

    Args, result and errors as in `pearson`.

    Example:
        >>> round(spearman([1.0, 2.0, 3.0, 4.0], [0.1, 0.3, 0.2, 0.4]), 3)
        0.8
    """
    return _defined("spearman", scores, dice, lambda x, y: stats.spearmanr(x, y).statistic)


def rel_at_k(scores: ArrayLike, dice: ArrayLike, *, k: int = 1) -> float:
    """rel@k = best Dice among the k sources of highest score / best Dice of the pool.

    Sources with equal scores are ordered by rising Dice, the worst case for the metric.

    Args:
        scores: As in `pearson`, and so are the errors.
        dice: As in `pearson`.
        k: The number of top sources, at least 1 (`ValueError` below).

    Returns:
        A number of at most 1, or NaN (also if the best Dice is not positive).

    Example:
        >>> rel_at_k([1.0, 2.0, 3.0, 4.0], [0.1, 0.8, 0.2, 0.4], k=1)
        0.5
        >>> rel_at_k([1.0, 2.0, 3.0, 4.0], [0.1, 0.8, 0.2, 0.4], k=3)
        1.0
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}")

    def share(x: Array, y: Array) -> float:
        if y.max() <= 0:
            return _warn("rel_at_k", f"the best Dice is {y.max():g}, not positive")
        return float(y[_best_first(x, y)[:k]].max() / y.max())

    return _defined("rel_at_k", scores, dice, share)


def top1_regret(scores: ArrayLike, dice: ArrayLike) -> float:
    """Top-1 regret: best Dice of the pool - Dice of the source with the highest score. Lower is better.

    Of several sources with the highest score, the one with the lowest Dice counts.

    Args and errors as in `pearson`. The result is at least 0, in the unit of `dice`, or NaN.

    Example:
        >>> round(top1_regret([1.0, 2.0, 3.0, 4.0], [0.1, 0.4, 0.2, 0.3]), 3)
        0.1
    """
    return _defined("top1_regret", scores, dice, lambda x, y: y.max() - y[_best_first(x, y)[0]])


def ndcg(scores: ArrayLike, dice: ArrayLike) -> float:
    """Normalised discounted cumulative gain, where the gain is the Dice minus the lowest Dice of the pool.

    DCG = sum over the sources, best score first, of gain / log2(position + 1), position from 1; divided by the DCG of
    the ranking by Dice. Sources with equal scores share the mean of their discounts.

    Args and errors as in `pearson`. The result is in [0, 1], or NaN.

    Example:
        >>> round(ndcg([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.4, 0.3]), 3)
        0.922
    """
    from sklearn.metrics import ndcg_score  # slow to import, and no other measure needs it

    return _defined("ndcg", scores, dice, lambda x, y: ndcg_score([y - y.min()], [x]))


def _best_first(x: Array, y: Array) -> NDArray[np.intp]:
    """(n,) the order of descending scores; equal scores in ascending order of Dice."""
    return np.lexsort((y, -x))


def _defined(name: str, scores: ArrayLike, dice: ArrayLike, measure: Callable[[Array, Array], float]) -> float:
    """Apply a measure, or return NaN with a warning if it is undefined."""
    x, y = _pair(scores, dice)
    if reason := why_undefined(x, y):
        return _warn(name, reason)
    return float(measure(x, y))


def _warn(name: str, reason: str) -> float:
    warnings.warn(f"{name} is undefined: {reason}", UndefinedAgreementWarning, stacklevel=4)
    return float("nan")


def _pair(scores: ArrayLike, dice: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(dice, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"`scores` and `dice` must be vectors of the same length, got {x.shape} and {y.shape}")
    return x, y
