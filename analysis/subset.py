"""All rows of one sub-pool: the study proper with its means, then each other choice of what is tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

from analysis.controls import SCORE_COLUMNS, control_scores
from analysis.draws import draw
from analysis.evaluate import Evaluation, Missing, evaluate, mean_evaluation
from analysis.pools import Pool
from analysis.quality import Quality, mean_quality, quality
from analysis.rows import Row, agreement_row, reliability_row
from analysis.study import MEAN, MEAN_BY_SCAN


@dataclass(frozen=True)
class Settings:
    """What is the same for all sub-pools.

    Attributes:
        scores: The metrics' scores.
        sources: The frame of the sources.
        tune: What is tuned in the study proper.
        scans: Target -> the scan that its cases come from; may be empty.
        missing: What a score that is not finite does, see `analysis.evaluate`.
        resamples: How many bootstrap draws and permutations.
    """

    scores: pd.DataFrame
    sources: pd.DataFrame
    tune: str
    scans: Mapping[str, str]
    missing: Missing
    resamples: int


@dataclass(frozen=True)
class Rows:
    """What one sub-pool adds to the study.

    Attributes:
        scores: The scores of metrics and controls in the study proper.
        agreement: Rows of the table of agreement.
        reliability: Rows of the table of reliability.
    """

    scores: pd.DataFrame
    agreement: Sequence[Row]
    reliability: Sequence[Row]


def rows_of(every: Sequence[Pool], *, subset: str, settings: Settings, generator: np.random.Generator) -> Rows:
    """Evaluate every metric and control on the pools of one sub-pool.

    Args:
        every: The pools, already cut down to the sub-pool, of every choice of what is tuned.
        subset: The sub-pool's name.
        settings: What is the same for all sub-pools.
        generator: Where draws, simulations and the random control come from.

    Returns:
        The rows; none where the sub-pool is empty.
    """
    if not any(pool.sources for pool in every):
        return Rows(settings.scores.iloc[:0], [], [])
    # the matrix products are small: on a busy machine waiting for BLAS threads costs twenty times the work
    with threadpool_limits(limits=1, user_api="blas"):
        return _evaluated(every, subset, settings, generator)


def _evaluated(every: Sequence[Pool], subset: str, settings: Settings, generator: np.random.Generator) -> Rows:
    union = [name for pool in every for name in pool.sources]
    draws = draw(union, resamples=settings.resamples, generator=generator)
    main = [pool for pool in every if pool.tune == settings.tune]
    tables, agreement, reliability = [], [], []
    for tune in [settings.tune, *sorted({pool.tune for pool in every} - {settings.tune})]:
        chosen = [pool for pool in every if pool.tune == tune]
        table = _with_controls(chosen, main, settings, generator)
        qualities = [quality(pool, draws=draws, generator=generator) for pool in chosen]
        if tune == settings.tune:
            qualities += _mean_qualities(qualities, settings.scans)
        truth = {item.target: item for item in qualities}
        for key, rows in table.groupby(["metric", "kind"], sort=False):
            metric, kind = map(str, key)
            here = dict(iter(rows.set_index("source").groupby("target")))
            found = [
                evaluate(pool, here.get(pool.target, _NO_ROWS), metric=metric, draws=draws, missing=settings.missing)
                for pool in chosen
            ]
            if tune == settings.tune:
                found += _mean_evaluations(found, settings.scans)
            agreement += [agreement_row(item, truth[item.target], subset=subset, kind=kind) for item in found]
        reliability += [reliability_row(item, subset=subset) for item in qualities]
        tables.append(table)
    return Rows(tables[0], agreement, reliability)


_NO_ROWS = pd.DataFrame({"score": [], "reason": [], "seconds": []})


def _with_controls(
    chosen: Sequence[Pool], main: Sequence[Pool], settings: Settings, generator: np.random.Generator
) -> pd.DataFrame:
    """The metrics' scores and the controls' in one frame, with the column `kind`."""
    controls = control_scores(chosen, settings.sources, others=main, generator=generator)
    metrics = settings.scores[list(SCORE_COLUMNS)]
    return pd.concat([metrics.assign(kind="metric"), controls.assign(kind="control")], ignore_index=True)


def _mean_evaluations(found: Sequence[Evaluation], scans: Mapping[str, str]) -> list[Evaluation]:
    means = [mean_evaluation(found, name=MEAN)]
    if scans:
        groups = _by_scan([item.target for item in found], scans)
        parts = [mean_evaluation([found[i] for i in group], name=scan) for scan, group in groups.items()]
        means.append(mean_evaluation(parts, name=MEAN_BY_SCAN))
    return means


def _mean_qualities(found: Sequence[Quality], scans: Mapping[str, str]) -> list[Quality]:
    means = [mean_quality(found, name=MEAN)]
    if scans:
        groups = _by_scan([item.target for item in found], scans)
        parts = [mean_quality([found[i] for i in group], name=scan) for scan, group in groups.items()]
        means.append(mean_quality(parts, name=MEAN_BY_SCAN))
    return means


def _by_scan(targets: Sequence[str], scans: Mapping[str, str]) -> dict[str, list[int]]:
    """Scan -> the places of its targets; a target that is not mapped is a scan of its own."""
    groups: dict[str, list[int]] = {}
    for place, target in enumerate(targets):
        groups.setdefault(scans.get(target, target), []).append(place)
    return groups
