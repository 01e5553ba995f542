"""All rows of one sub-pool: the main study with its means, then every other choice of what is tuned."""

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TypeVar

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from analysis.agreement.best_of_many import max_t_p
from analysis.agreement.measure_table import PRIMARY
from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.agreement.source_bootstrap import SourceDraws, draw
from analysis.evaluation.compare import comparisons
from analysis.evaluation.controls import CONTROLS, with_controls
from analysis.evaluation.evaluate import Evaluation, Missing, evaluate, mean_evaluation
from analysis.evaluation.kinds import CONTROL, METRIC, TRAINING
from analysis.evaluation.pool_stability import without_one_source
from analysis.evaluation.prepared_truth import PreparedTruth
from analysis.evaluation.rows import Row, agreement_row, reliability_row
from analysis.evaluation.short_fine_tuning import (
    ShortFineTuning,
    judged_by_other_seeds,
    no_rungs,
    seed_scores,
    with_short_fine_tuning,
)
from analysis.evaluation.study import ALL, WITHIN_FAMILIES
from analysis.evaluation.within_families import within_families
from analysis.truth.pools import Pool, Scope
from analysis.truth.quality import Quality, mean_quality, quality
from analysis.truth.seed_case_bootstrap import redrawn_dice

Item = TypeVar("Item", Evaluation, Quality)
_NO_ROWS = pd.DataFrame({"score": [], "reason": [], "seconds": []})
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
        families: Source -> its family.
        controls: The controls that are compared.
        short: The Dice on validation cases during fine-tuning.
    """

    scores: pd.DataFrame
    sources: pd.DataFrame
    tune: str
    scans: Mapping[str, str]
    missing: Missing
    resamples: int
    families: Mapping[str, str]
    controls: Collection[str] = CONTROLS
    short: ShortFineTuning = field(default_factory=lambda: ShortFineTuning.of(no_rungs()))

    def scores_of(self, pools: Sequence[Pool]) -> pd.DataFrame:
        """The metrics' scores, and those of short fine-tuning on the pools."""
        return with_short_fine_tuning(self.scores, pools, self.short)


@dataclass(frozen=True)
class ScoreFrames:
    """The scores of metrics and controls.

    Attributes:
        by_target: Target -> metric or control -> its rows, indexed by source.
        kinds: Metric or control -> its kind.
    """

    by_target: Mapping[str, Mapping[str, pd.DataFrame]]
    kinds: Mapping[str, str]

    @classmethod
    def of(cls, chosen: Sequence[Pool], table: pd.DataFrame) -> "ScoreFrames":
        """The scores of a table for the targets of the pools."""
        here = {key: rows.set_index("source") for key, rows in table.groupby(["metric", "target"], sort=False)}
        kinds: dict[str, str] = dict(table.drop_duplicates("metric")[["metric", "kind"]].itertuples(index=False))
        by_target = {pool.target: {name: here.get((name, pool.target), _NO_ROWS) for name in kinds} for pool in chosen}
        return cls(by_target, kinds)


@dataclass(frozen=True)
class Rows:
    """The rows of one sub-pool.

    Attributes:
        scores: The scores of metrics and controls in the main study.
        agreement: Rows of the table of agreement.
        reliability: Rows of the table of reliability.
        comparisons: Rows of the table of comparisons.
        stability: Rows of the table of stability for the division `one_source`; only for the sub-pool of all sources.
        means: Metric or control -> its mean over targets in the main study.
        draws: The draws of the sources; None without sources.
    """

    scores: pd.DataFrame
    agreement: Sequence[Row]
    reliability: Sequence[Row]
    comparisons: Sequence[Row]
    stability: Sequence[Row]
    means: Mapping[str, Evaluation] = field(default_factory=dict)
    draws: SourceDraws | None = None

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
    names = [name for pool in every for name in pool.sources]
    draws = draw(names, resamples=settings.resamples, generator=generator, families=settings.families)
    if subset != ALL:
        draws = replace(draws, of_families=None)  # its interval over families is not shown
    main = [pool for pool in every if pool.tune == settings.tune]
    rows = Rows(settings.scores.iloc[:0], [], [], [], [])
    for tune in [settings.tune, *sorted({pool.tune for pool in every} - {settings.tune})]:
        chosen = [pool for pool in every if pool.tune == tune]
        table = with_controls(
            chosen, main, settings.scores_of(chosen), settings.sources, generator=generator, controls=settings.controls
        )
        qualities = [quality(pool, draws=draws, generator=generator) for pool in chosen]
        scores = ScoreFrames.of(chosen, table)
        evaluations = _by_metric(chosen, scores, settings, draws, generator, redraw=subset == ALL)
        if tune == settings.tune:
            qualities = _with_means(qualities, mean_quality, settings.scans)
            evaluations = {
                metric: _with_means(items, mean_evaluation, settings.scans) for metric, items in evaluations.items()
            }
            means = {metric: _mean(items) for metric, items in evaluations.items()}
            rows = replace(rows, scores=table, means=means, draws=draws)
        rows = rows.plus(_rows(evaluations, qualities, subset, scores.kinds))
        if subset == ALL and tune == settings.tune and draws.several_families:
            rows = rows.plus(_within_families(chosen, scores, settings, draws))
        if subset == ALL and tune == settings.tune:
            one_source = [
                row
                for metric, mean in rows.means.items()
                for row in without_one_source(mean, names=draws.names, kind=scores.kinds[metric])
            ]
            rows = replace(rows, stability=one_source)
    return rows


def _by_metric(
    chosen: Sequence[Pool],
    scores: ScoreFrames,
    settings: Settings,
    draws: SourceDraws,
    generator: np.random.Generator,
    *,
    redraw: bool,
) -> dict[str, list[Evaluation]]:
    """Metric -> its evaluations, one per target; pool by pool, so that only one pool's draws are in memory."""
    evaluations: dict[str, list[Evaluation]] = {metric: [] for metric in scores.kinds}
    for pool in chosen:
        truth = PreparedTruth(pool, draws, redrawn_dice(pool, draws=REDRAWS, generator=generator) if redraw else {})
        for metric, kind in scores.kinds.items():
            if kind != TRAINING:
                rows, freely = scores.by_target[pool.target][metric], kind == CONTROL
                item = evaluate(truth, rows, metric=metric, missing=settings.missing, freely=freely)
                evaluations[metric].append(item)
        redraws = generator.spawn(1)[0] if redraw else None
        for metric, item in _short_fine_tuning(pool, settings, draws, redraws).items():
            if metric in evaluations:  # not if no source of any pool is scored
                evaluations[metric].append(item)
    return evaluations


def _short_fine_tuning(
    pool: Pool, settings: Settings, draws: SourceDraws, redraws: np.random.Generator | None
) -> dict[str, Evaluation]:
    """The evaluations of short fine-tuning on one target; test cases are drawn alike for all seeds."""

    def evaluated(others: Pool, rows: Mapping[str, pd.DataFrame]) -> dict[str, Evaluation]:
        redrawn = redrawn_dice(others, draws=REDRAWS, generator=deepcopy(redraws)) if redraws else {}
        truth = PreparedTruth(others, draws, redrawn)
        return {metric: evaluate(truth, own, metric=metric, missing=settings.missing) for metric, own in rows.items()}

    return judged_by_other_seeds(pool, seed_scores(pool, settings.short), evaluated)


def _within_families(chosen: Sequence[Pool], scores: ScoreFrames, settings: Settings, draws: SourceDraws) -> Rows:
    """The rows of agreement within families, on each target that has such and as means."""
    parts = [_within_families_of(pool, scores, settings, draws) for pool in chosen]
    known = [part for part in parts if part]
    lacking = [pool.target for pool, part in zip(chosen, parts, strict=True) if not part]
    evaluations = {
        metric: _with_means([part[metric] for part in known], mean_evaluation, settings.scans)
        for metric in (scores.kinds if known else ())
    }
    if lacking:
        reason = f"no family of {FEWEST_SOURCES} sources on {', '.join(lacking)}"
        evaluations = {metric: [_with_reason(item, reason) for item in items] for metric, items in evaluations.items()}
    return Rows(pd.DataFrame(), _agreement_rows(evaluations, {}, WITHIN_FAMILIES, scores.kinds), [], [], [])


def _within_families_of(
    pool: Pool, scores: ScoreFrames, settings: Settings, draws: SourceDraws
) -> dict[str, Evaluation]:
    """Metric -> its agreement within families on one target; empty if no family has three sources."""

    def evaluated(pool: Pool, rows: Mapping[str, pd.DataFrame]) -> dict[str, Evaluation]:
        return within_families(pool, draws, rows, missing=settings.missing)

    at_once = {name: rows for name, rows in scores.by_target[pool.target].items() if scores.kinds[name] != TRAINING}
    return evaluated(pool, at_once) | judged_by_other_seeds(pool, seed_scores(pool, settings.short), evaluated)


def _with_reason(item: Evaluation, reason: str) -> Evaluation:
    """A mean over targets with one more reason; that of one target stays as it is."""
    return item if item.scope == Scope.TARGET else replace(item, reason="; ".join(filter(None, (item.reason, reason))))


def _rows(
    evaluations: Mapping[str, Sequence[Evaluation]], qualities: Sequence[Quality], subset: str, kinds: Mapping[str, str]
) -> Rows:
    ceilings = {(item.scope, item.target): item.ceiling for item in qualities}
    agreement = _agreement_rows(evaluations, ceilings, subset, kinds)
    reliability = [reliability_row(item, subset=subset) for item in qualities]
    return Rows(pd.DataFrame(), agreement, reliability, comparisons(evaluations, subset=subset, kinds=kinds), [])


def _agreement_rows(
    evaluations: Mapping[str, Sequence[Evaluation]],
    ceilings: Mapping[tuple[Scope, str], Mapping[str, float]],
    subset: str,
    kinds: Mapping[str, str],
) -> list[Row]:
    """The rows of agreement, with M_p_max (corrected by max-T for all metrics) for each primary measure M."""
    rows = {
        metric: [
            agreement_row(item, ceilings.get((item.scope, item.target), {}), subset=subset, kind=kinds[metric])
            | {f"{measure.name}_p_max": float("nan") for measure in PRIMARY}
            for item in items
        ]
        for metric, items in evaluations.items()
    }
    metrics = [metric for metric in evaluations if kinds[metric] == METRIC]
    for place, measure in product(range(len(evaluations[metrics[0]]) if metrics else 0), PRIMARY):
        agreements = [evaluations[metric][place].agreement for metric in metrics]
        values, null = (
            np.array([part[measure.name] for part in parts])
            for parts in ([item.value for item in agreements], [item.null for item in agreements])
        )
        for metric, p in zip(metrics, max_t_p(values, null), strict=True):
            rows[metric][place][f"{measure.name}_p_max"] = float(p)
    return [row for of_metric in rows.values() for row in of_metric]


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
