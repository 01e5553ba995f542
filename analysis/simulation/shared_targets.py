"""Targets that share their sources: the critical difference, the p-value and the interval of a mean over targets.

Dice and the scores of metric k for source i on target t are

    y_ti = sqrt(s) F_i + sqrt(1 - s) e_ti,    x_kti = r y_ti + sqrt(1 - r^2) z_kti

with standard normal F and e, z_k drawn like y, s the sharing (the correlation of a source's values on two targets) and
r the correlation of every metric with the Dice: all metrics agree equally well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from analysis.agreement.bootstrap import Side
from analysis.agreement.critical_difference import critical_difference
from analysis.agreement.intervals import Interval, bca_interval, permutation_p
from analysis.agreement.measure_table import (
    PEARSON,
    PRIMARY,
    WEIGHTED_KENDALL,
    Measure,
    measured,
    resample_sides,
    row_sides,
)
from analysis.agreement.source_bootstrap import SourceDraws, draw
from analysis.simulation.quantity import (
    TRUE_POOLS,
    Array,
    Bounds,
    Effort,
    Part,
    Quantity,
    coverage,
    rejections,
    source_names,
)

DIFFERENCE = f"difference of two metrics' means of {WEIGHTED_KENDALL.name}"


@dataclass(frozen=True)
class SharedTargets:
    """Studies of several metrics on several targets with the same sources.

    Attributes:
        sources: The number of sources.
        targets: The number of targets.
        metrics: The number of metrics.
        sharings: s of the module, in [0, 1).
        correlations: r of the module, in [0, 1); with 0 the p-value of a mean is examined, too.
        coverage: Minimum and maximum coverage.
        rejected: Minimum and maximum share of p <= 0.05 under the null.
    """

    sources: int
    targets: int
    metrics: int
    sharings: Sequence[float]
    correlations: Sequence[float]
    coverage: Bounds
    rejected: Bounds

    def parts(self) -> Mapping[str, Part]:
        """Sharing and correlation -> the simulation."""
        return {
            f"sharing {sharing:g}; correlation {correlation:g}": partial(self._part, sharing, correlation)
            for correlation in self.correlations
            for sharing in self.sharings
        }

    def _part(
        self, sharing: float, correlation: float, effort: Effort, generator: np.random.Generator
    ) -> list[Quantity]:
        shape = (self.metrics, self.targets, self.sources)
        truth = _truth(self.sources, sharing, correlation, generator) | {DIFFERENCE: 0.0}
        p: dict[str, list[float]] = {"critical difference": [], "Friedman's test": []}
        intervals: dict[str, list[Interval]] = {f"mean of {measure.name} over targets": [] for measure in PRIMARY}
        intervals[DIFFERENCE] = []
        null: dict[str, list[float]] = {}
        for x, y in zip(*shared_studies(effort.pools, shape, sharing, correlation, generator), strict=True):
            draws = draw(source_names(self.sources), resamples=effort.resamples, generator=generator)
            values, resampled = _of_metrics(x, y, draws)
            p["critical difference"].append(_critical_p(values.mean(axis=1), resampled, self.sources))
            p["Friedman's test"].append(stats.friedmanchisquare(*values).pvalue)
            intervals[DIFFERENCE].append(WEIGHTED_KENDALL.interval(resampled[0] - resampled[1], self.sources))
            for name, interval in _mean_intervals(x[0], y, draws).items():
                intervals[f"mean of {name} over targets"].append(interval)
            if correlation == 0:
                for name, value in _mean_p(x[0], y, draws, effort.permutations).items():
                    null.setdefault(name, []).append(value)
        return [
            rejections("critical difference", p["critical difference"], self.rejected),
            rejections("Friedman's test", p["Friedman's test"]),
            *(rejections(f"mean of {name} over targets", values, self.rejected) for name, values in null.items()),
            *(coverage(name, given, truth[name], self.coverage) for name, given in intervals.items()),
        ]


def shared_studies(
    number: int, shape: tuple[int, int, int], sharing: float, correlation: float, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Draw studies whose targets share their sources.

    Args:
        number: The number of studies.
        shape: The numbers of metrics, targets and sources.
        sharing: s of the module, in [0, 1).
        correlation: r of the module, in (-1, 1).
        generator: Source of randomness.

    Returns:
        Scores (number, metrics, targets, sources) and Dice (number, targets, sources), of standard deviation 1.
    """
    metrics, targets, n = shape

    def values(*outer: int) -> Array:
        common = generator.standard_normal((*outer, 1, n))
        own = generator.standard_normal((*outer, targets, n))
        return np.asarray(np.sqrt(sharing) * common + np.sqrt(1 - sharing) * own)

    dice = values(number)
    return correlation * dice[:, None] + np.sqrt(1 - correlation**2) * values(number, metrics), dice


def agreement_on_targets(
    measures: Sequence[Measure], scores: Array, sides: Sequence[Iterable[Side]]
) -> dict[str, Array]:
    """The agreement of several metrics on several targets.

    Args:
        measures: The measures.
        scores: (metrics, targets, n) float64.
        sides: For each target its Dice with the same b resamples or permutations of the sources.

    Returns:
        Measure -> (metrics, targets, b) float64.
    """
    kept = [list(blocks) for blocks in sides]
    values = [[measured(measures, x, blocks) for x, blocks in zip(metric, kept, strict=True)] for metric in scores]
    return {m.name: np.array([[target[m.name] for target in metric] for metric in values]) for m in measures}


def _truth(n: int, sharing: float, correlation: float, generator: np.random.Generator) -> dict[str, float]:
    """The mean of each measure over pools; the same on every target, so one is drawn."""
    scores, dice = shared_studies(TRUE_POOLS, (1, 1, n), sharing, correlation, generator)
    values = measured(PRIMARY, scores[:, 0, 0], row_sides(dice[:, 0]))
    return {f"mean of {name} over targets": float(value.mean()) for name, value in values.items()}


def _of_metrics(scores: Array, dice: Array, draws: SourceDraws) -> tuple[Array, Array]:
    """Weighted Kendall (metrics, targets), and its mean over targets on each resample (metrics, b)."""
    values = agreement_on_targets([WEIGHTED_KENDALL], scores, [row_sides(y[None]) for y in dice])
    resampled = agreement_on_targets([WEIGHTED_KENDALL], scores, [resample_sides(y, draws.counts) for y in dice])
    return values[WEIGHTED_KENDALL.name][..., 0], resampled[WEIGHTED_KENDALL.name].mean(axis=1)


def _critical_p(means: Array, resampled: Array, sources: int) -> float:
    values = {str(metric): float(value) for metric, value in enumerate(means)}
    drawn = {str(metric): draws_of_metric for metric, draws_of_metric in enumerate(resampled)}
    return critical_difference(values, drawn, sources=sources).p


def _mean_intervals(scores: Array, dice: Array, draws: SourceDraws) -> dict[str, Interval]:
    """The intervals of one metric's mean over targets; scores and Dice are (targets, n)."""
    resampled = _means(scores, [resample_sides(y, draws.counts) for y in dice])
    intervals = {m.name: m.interval(resampled[m.name], scores.shape[1]) for m in PRIMARY if m is not PEARSON}
    jackknife = _means(scores, [resample_sides(y, draws.without_one(draws.names)) for y in dice], [PEARSON])
    value = float(_means(scores, [row_sides(y[None]) for y in dice], [PEARSON])[PEARSON.name][0])
    return {PEARSON.name: bca_interval(value, resampled[PEARSON.name], jackknife[PEARSON.name]), **intervals}


def _mean_p(scores: Array, dice: Array, draws: SourceDraws, permutations: int) -> dict[str, float]:
    """The p-values of one metric's mean over targets, whose permutations are the same on every target."""
    values = _means(scores, [row_sides(y[None]) for y in dice])
    null = _means(scores, [row_sides(y[draws.permutations[:permutations]]) for y in dice])
    return {name: permutation_p(float(value[0]), null[name]) for name, value in values.items()}


def _means(scores: Array, sides: Sequence[Iterable[Side]], measures: Sequence[Measure] = PRIMARY) -> dict[str, Array]:
    return {name: v[0].mean(axis=0) for name, v in agreement_on_targets(measures, scores[None], sides).items()}
