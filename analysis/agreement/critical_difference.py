"""The critical difference between metrics: the smallest difference of mean agreement that is not chance.

Demsar's diagram of mean ranks uses the tests of Friedman and Nemenyi, which take the targets as independent. Targets
share their sources, so they are not: with a correlation of 0.5 between targets, Friedman's test claims a difference in
20% of pools without any, at a nominal 5% (`analysis.coverage`). Here the difference comes from the bootstrap resamples
of the sources, which all targets and metrics share. With T_j the mean agreement of metric j over targets and T*_j that
of a resample,

    range* = max_j (T*_j - mean T*_j) - min_j (T*_j - mean T*_j)

Two metrics differ, at level alpha corrected for all pairs, if their agreement differs by more than the 1 - alpha
quantile of range*; p is the share of resamples whose range* is at least the range of the T_j.

References: J. W. Tukey, "The problem of multiple comparisons", 1953 (the range as the test of all pairs); J. Demsar,
"Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006 (the diagram).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.agreement.bootstrap import Array
from analysis.agreement.intervals import UNDEFINED_SHARE
from analysis.agreement.measure_table import FEWEST as FEWEST_SOURCES

FEWEST = 3  # metrics; two have a paired comparison
ALPHA = 0.05


@dataclass(frozen=True)
class CriticalDifference:
    """Mean agreement of the metrics and their critical difference.

    Attributes:
        agreement: Metric -> mean agreement over the targets, best first.
        difference: The critical difference; NaN if undefined.
        p: The p-value of the hypothesis that all metrics agree equally well; NaN if undefined.
        left_out: Metrics whose agreement is undefined, or is so in more than a fifth of the resamples.
        reason: Why the difference is undefined, or "".
    """

    agreement: Mapping[str, float]
    difference: float
    p: float
    left_out: tuple[str, ...]
    reason: str = ""

    @property
    def cliques(self) -> tuple[tuple[str, ...], ...]:
        """The largest groups of metrics, adjacent in order, that do not differ, best first."""
        names, values = list(self.agreement), -np.array(list(self.agreement.values()))
        groups: list[tuple[int, int]] = []
        for start, value in enumerate(values):
            end = int(np.searchsorted(values, value + self.difference, side="right"))
            if end - start > 1 and (not groups or end > groups[-1][1]):
                groups.append((start, end))
        return tuple(tuple(names[start:end]) for start, end in groups)


def critical_difference(
    values: Mapping[str, float], resampled: Mapping[str, Array], *, sources: float, alpha: float = ALPHA
) -> CriticalDifference:
    """Compare the mean agreement of metrics.

    Args:
        values: Metric -> mean agreement over targets; a metric with NaN is left out.
        resampled: Metric -> (b,) the same on each resample of the sources, shared by all metrics.
        sources: The number of sources of a pool, for a mean over targets the mean number.
        alpha: The level.

    Returns:
        The agreement and its critical difference; without a difference, but with the reason, for fewer than 3 metrics
        or 6 sources.

    Example:
        >>> draws = {"a": np.array([0.4, 0.6, 0.5]), "b": np.array([0.1, 0.1, 0.1]), "c": np.array([0.2, 0.0, 0.1])}
        >>> result = critical_difference({"a": 0.5, "b": 0.1, "c": 0.1}, draws, sources=9)
        >>> result.cliques, round(result.difference, 2)
        ((('b', 'c'),), 0.2)
    """
    ordered = dict(sorted(values.items(), key=lambda item: -item[1]))
    kept = {
        name: value
        for name, value in ordered.items()
        if np.isfinite(value) and np.isfinite(resampled[name]).mean() >= 1 - UNDEFINED_SHARE
    }
    left_out = tuple(name for name in ordered if name not in kept)
    if len(kept) < FEWEST or sources < FEWEST_SOURCES:
        reason = f"{sources:.3g} sources, at least {FEWEST_SOURCES} are needed"
        if len(kept) < FEWEST:
            reason = f"{len(kept)} metrics are defined on all targets, at least {FEWEST} are needed"
        return CriticalDifference(kept, float("nan"), float("nan"), left_out, reason)
    draws = np.array([resampled[name] for name in kept])
    draws = draws[:, np.isfinite(draws).all(axis=0)]
    if not draws.size:
        reason = "in every resample of the sources some metric is undefined"
        return CriticalDifference(kept, float("nan"), float("nan"), left_out, reason)
    spread = np.ptp(draws - draws.mean(axis=1, keepdims=True), axis=0)
    observed = np.ptp(list(kept.values()))
    p = (1 + (spread >= observed).sum()) / (1 + spread.size)
    return CriticalDifference(kept, float(np.quantile(spread, 1 - alpha)), float(p), left_out)
