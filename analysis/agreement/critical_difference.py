"""Friedman's test and Nemenyi's critical difference between metrics over the targets.

On each of N targets the k metrics are ranked by their agreement with the truth, 1 is the best, ties get their mean
rank. Friedman's test asks whether all k have the same mean rank. Two metrics differ, at level alpha corrected for all
pairs, if their mean ranks differ by more than

    CD = q sqrt(k (k + 1) / (6 N)),    q = the (1 - alpha) quantile of the studentised range of k groups / sqrt 2

Targets are few, so the critical difference is large. The test treats them as independent, although they may share a
scan.

References: Friedman, JASA 1937; Nemenyi, PhD thesis, Princeton 1963; Demsar, "Statistical Comparisons of Classifiers
over Multiple Data Sets", JMLR 2006.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, studentized_range

FEWEST = 3  # metrics; the minimum of scipy's test
ALPHA = 0.05


@dataclass(frozen=True)
class CriticalDifference:
    """Mean ranks of the metrics and their critical difference.

    Attributes:
        ranks: Metric -> mean rank over the targets, best first.
        difference: CD; NaN if undefined.
        p: Friedman's p-value; NaN if undefined.
        targets: N.
        left_out: Metrics whose agreement is undefined on some target.
        reason: Why CD is undefined, or "".
    """

    ranks: Mapping[str, float]
    difference: float
    p: float
    targets: int
    left_out: tuple[str, ...]
    reason: str = ""

    @property
    def cliques(self) -> tuple[tuple[str, ...], ...]:
        """The largest groups of metrics adjacent in rank that do not differ, best first."""
        names, values = list(self.ranks), np.array(list(self.ranks.values()))
        cliques: list[tuple[int, int]] = []
        for start, value in enumerate(values):
            end = int(np.searchsorted(values, value + self.difference, side="right"))
            if end - start > 1 and (not cliques or end > cliques[-1][1]):
                cliques.append((start, end))
        return tuple(tuple(names[start:end]) for start, end in cliques)


def critical_difference(table: pd.DataFrame, *, alpha: float = ALPHA) -> CriticalDifference:
    """Compare metrics over targets.

    Args:
        table: The agreement, one row per metric and one column per target; a metric with a NaN is left out.
        alpha: The level.

    Returns:
        The mean ranks; for fewer than 3 metrics or 2 targets without a difference but with the reason.

    Example:
        >>> table = pd.DataFrame({"liver": [0.9, 0.5, 0.1], "lung": [0.8, 0.4, 0.3]}, index=["a", "b", "c"])
        >>> ranking = critical_difference(table)
        >>> dict(ranking.ranks), round(ranking.difference, 2)
        ({'a': 1.0, 'b': 2.0, 'c': 3.0}, 2.34)
    """
    whole = table.dropna()
    left_out = tuple(str(name) for name in table.index.difference(whole.index, sort=False))
    k, n = whole.shape
    ranks = whole.rank(ascending=False).mean(axis=1).sort_values(kind="stable")
    named = {str(name): float(rank) for name, rank in ranks.items()}
    if k < FEWEST or n < 2:
        reason = f"needs {FEWEST} metrics that are defined on all of at least 2 targets, got {k} on {n}"
        return CriticalDifference(named, float("nan"), float("nan"), n, left_out, reason)
    quantile = float(studentized_range.isf(alpha, k, np.inf)) / np.sqrt(2)
    p = (
        1.0 if bool((whole == whole.iloc[0]).all(axis=None)) else float(friedmanchisquare(*whole.to_numpy()).pvalue)
    )  # scipy divides by zero then
    return CriticalDifference(named, float(quantile * np.sqrt(k * (k + 1) / (6 * n))), p, n, left_out)
