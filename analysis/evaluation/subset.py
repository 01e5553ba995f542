"""All rows of one sub-pool: the main study with its means, then every other choice of what is tuned."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from analysis.agreement.source_bootstrap import SourceDraws, draw
from analysis.evaluation.compare import comparisons
from analysis.evaluation.controls import with_controls
from analysis.evaluation.evaluate import Evaluation, Missing, evaluate, mean_evaluation
from analysis.evaluation.pool_stability import without_one_source
from analysis.evaluation.prepared_truth import PreparedTruth
from analysis.evaluation.rows import Row, agreement_row, reliability_row
from analysis.evaluation.study import ALL
from analysis.truth.pools import Pool, Scope
from analysis.truth.quality import Quality, mean_quality, quality
from analysis.truth.seed_case_bootstrap import redrawn_dice

Item = TypeVar("Item", Evaluation, Quality)
REDRAWS = 300  # with these, the ends of an interval over cases or seeds vary by about 0.02 between seeds


@dataclass(frozen=True)
class Settings:
    """Inputs and options shared by all sub-pools.

    Attributes:
        scores: The metrics' scores.
        sources: The frame of the sources.
        tune: What is tuned in the main study.
        scans: Target -> the scan that its cases come from; may be empty.
        missing: How scores that are not finite are handled, see `analysis.evaluation.evaluate`.
        resamples: The number of bootstrap draws and permutations.
    """

    scores: pd.DataFrame
    sources: pd.DataFrame
    tune: str
    scans: Mapping[str, str]
    missing: Missing
    resamples: int


@dataclass(frozen=True)
class Rows:
    """The rows of one sub-pool.

    Attributes:
        scores: The scores of metrics and controls in the main study.
        agreement: Rows of the table of agreement.
        reliability: Rows of the table of reliability.
        comparisons: Rows of the table of comparisons.
        stability: Rows of the table of stability for the family `one_source`; only for the sub-pool of all sources.
    """

    scores: pd.DataFrame
    agreement: Sequence[Row]
    reliability: Sequence[Row]
    comparisons: Sequence[Row]
    stability: Sequence[Row]

    def plus(self, other: "Rows") -> "Rows":
        """Append the rows of `other`; the scores stay those of `self`."""
        return replace(
            self,
            agreement=[*self.agreement, *other.agreement],
            reliability=[*self.reliability, *other.reliability],
            comparisons=[*self.comparisons, *other.comparisons],
        )


def rows_of(every: Sequence[Pool], *, subset: str, settings: Settings, generator: np.random.Generator) -> Rows:
    """Evaluate every metric and control on the pools of one sub-pool.

    Args:
        every: The pools, already restricted to the sub-pool, for every choice of what is tuned.
        subset: The sub-pool's name.
        settings: Inputs and options shared by all sub-pools.
        generator: Randomness of draws, simulations and the random control.

    Returns:
        The rows; empty if the sub-pool is empty.
    """
    if not any(pool.sources for pool in every):
        return Rows(settings.scores.iloc[:0], [], [], [], [])
    # The matrix products are small: on a busy machine, waiting for BLAS threads takes twenty times as long as the work.
    with threadpool_limits(limits=1, user_api="blas"):
        return _evaluated(every, subset, settings, generator)


def _evaluated(every: Sequence[Pool], subset: str, settings: Settings, generator: np.random.Generator) -> Rows:
    draws = draw([name for pool in every for name in pool.sources], resamples=settings.resamples, generator=generator)
    main = [pool for pool in every if pool.tune == settings.tune]
    rows = Rows(settings.scores.iloc[:0], [], [], [], [])
    for tune in [settings.tune, *sorted({pool.tune for pool in every} - {settings.tune})]:
        chosen = [pool for pool in every if pool.tune == tune]
        table = with_controls(chosen, main, settings.scores, settings.sources, generator=generator)
        qualities = [quality(pool, draws=draws, generator=generator) for pool in chosen]
        evaluations = _by_metric(chosen, table, settings, draws, generator, redraw=subset == ALL)
        if tune == settings.tune:
            qualities = _with_means(qualities, mean_quality, settings.scans)
            evaluations = {
                metric: _with_means(items, mean_evaluation, settings.scans) for metric, items in evaluations.items()
            }
            rows = replace(rows, scores=table)
        kinds: dict[str, str] = dict(table.drop_duplicates("metric")[["metric", "kind"]].itertuples(index=False))
        rows = rows.plus(_rows(evaluations, qualities, subset, kinds))
        if subset == ALL and tune == settings.tune:
            one_source = [
                row
                for metric, items in evaluations.items()
                for row in without_one_source(_mean(items), names=draws.names, kind=kinds[metric])
            ]
            rows = replace(rows, stability=one_source)
    return rows


def _by_metric(
    chosen: Sequence[Pool],
    table: pd.DataFrame,
    settings: Settings,
    draws: SourceDraws,
    generator: np.random.Generator,
    *,
    redraw: bool,
) -> dict[str, list[Evaluation]]:
    """Metric -> its evaluations, one per target; pool by pool, so that only one pool's draws are in memory."""
    evaluations: dict[str, list[Evaluation]] = {str(metric): [] for metric in dict.fromkeys(table["metric"])}
    here = {key: rows.set_index("source") for key, rows in table.groupby(["metric", "target"], sort=False)}
    for pool in chosen:
        truth = PreparedTruth(pool, draws, redrawn_dice(pool, draws=REDRAWS, generator=generator) if redraw else {})
        for metric, items in evaluations.items():
            scores = here.get((metric, pool.target), _NO_ROWS)
            items.append(evaluate(truth, scores, metric=metric, missing=settings.missing))
    return evaluations


def _rows(
    evaluations: Mapping[str, Sequence[Evaluation]], qualities: Sequence[Quality], subset: str, kinds: Mapping[str, str]
) -> Rows:
    truth = {(item.scope, item.target): item for item in qualities}
    agreement = [
        agreement_row(item, truth[item.scope, item.target], subset=subset, kind=kinds[metric])
        for metric, items in evaluations.items()
        for item in items
    ]
    reliability = [reliability_row(item, subset=subset) for item in qualities]
    return Rows(pd.DataFrame(), agreement, reliability, comparisons(evaluations, subset=subset, kinds=kinds), [])


_NO_ROWS = pd.DataFrame({"score": [], "reason": [], "seconds": []})


def _mean(items: Sequence[Evaluation]) -> Evaluation:
    return next(item for item in items if item.scope == Scope.MEAN)


def _with_means(items: Sequence[Item], average: Callable[..., Item], scans: Mapping[str, str]) -> list[Item]:
    """The items of all targets, their mean, and with `scans` the mean over scans of the mean over their targets."""
    means: list[Item] = [average(items, scope=Scope.MEAN)]
    if scans:
        groups: dict[str, list[Item]] = {}
        for item in items:  # a target without an entry counts as its own scan
            groups.setdefault(scans.get(item.target, item.target), []).append(item)
        parts = [average(group, scope=Scope.MEAN, target=scan) for scan, group in groups.items()]
        means.append(average(parts, scope=Scope.MEAN_BY_SCAN))
    return list(items) + means
