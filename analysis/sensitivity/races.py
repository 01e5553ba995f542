"""Races replayed with other settings: how many candidates start, and how many go on after a rung; nothing is trained.

Every race is replayed as in `analysis.evaluation.race_replay`, with the fine-tunings of the truth. A race of the best
candidates by an estimate also pays for scoring all sources; a race of all sources needs no estimate.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.evaluation.race_replay import (
    Pick,
    RaceReplay,
    RecordedPool,
    Strategy,
    StrategyKind,
    mean_rows,
    recorded_pools,
    replay,
)
from analysis.evaluation.race_strategies import BUDGET, fine_tune_all, race, race_of_best
from analysis.tables.race_tables import COST, EXTRA, REGRET, race_notes
from analysis.tables.tables import Column, Row, Table, table_of
from analysis.truth.pools import Pool

SETTINGS = ("candidates", "eta")  # columns of the settings of a race, after those of `RaceReplay`


@dataclass(frozen=True)
class RaceSettings:
    """The races that are compared: every eta with every number of candidates and every metric.

    Attributes:
        eta: Of n candidates, ceil(n / eta) go on after a rung.
        keep: The number of candidates, the best ones by a metric; None for all sources.
        budget: Largest share of the steps of fine-tuning the candidates, see `benchmark.racing.halving.Race`.
        metrics: The metrics by which candidates are chosen; those without a score in the study are left out.
    """

    eta: Sequence[int] = (2, 3, 4)
    keep: Sequence[int | None] = (4, 8, None)
    budget: float = BUDGET
    metrics: Sequence[str] = ()


def compare_races(
    pools: Sequence[Pool],
    scores: pd.DataFrame,
    rungs: pd.DataFrame,
    validation: pd.DataFrame,
    *,
    settings: RaceSettings,
) -> RaceReplay:
    """Replay the races of all settings, and fine-tuning all.

    Args:
        pools: The pools, one per target.
        scores: Columns source, target, metric, score, seconds.
        rungs: Columns `analysis.evaluation.short_fine_tuning.RUNG_COLUMNS`.
        validation: The Dice of each validation case, see `analysis.evaluation.race_replay.recorded_pools`.
        settings: The settings.

    Returns:
        Regret and cost, with the columns `SETTINGS`; they are empty for fine-tuning all.
    """
    recorded, reasons = recorded_pools(pools, scores, rungs, validation)
    races = list(_races(settings, set(scores["metric"])))
    named = {strategy.name: (candidates, str(eta)) for candidates, eta, strategy in races}
    rows = replay(recorded, [fine_tune_all(), *(strategy for _, _, strategy in races)])
    means = mean_rows(rows) if len(rows) else rows

    def with_settings(frame: pd.DataFrame) -> pd.DataFrame:
        values = [named.get(name, ("", "")) for name in frame["strategy"]]
        return frame.assign(**dict(zip(SETTINGS, zip(*values, strict=True), strict=True))) if values else frame

    return RaceReplay(with_settings(rows), with_settings(means), reasons)


def race_table(title: str, compared: RaceReplay) -> Table:
    """The mean over targets of each setting, in groups of the same candidates; the reasons if no target is replayed."""
    if compared.rows.empty:
        return Table(title, ("target", "reason"), (tuple(compared.reasons.items()),))
    groups = [_headed(group) for _, group in compared.means.groupby("candidates", sort=False)]
    columns = (Column("candidates", "candidates"), Column("eta", "eta"), COST, REGRET, EXTRA)
    notes = ["eta: of n candidates, n / eta go on after a rung, and those that cannot be told apart from them."]
    return table_of(title, columns, groups, [*notes, *race_notes(compared)])


def _races(settings: RaceSettings, metrics: set[str]) -> Iterator[tuple[str, int, Strategy]]:
    """Candidates in words, eta, and the race."""
    for keep in settings.keep:
        chosen = [None] if keep is None else [metric for metric in settings.metrics if metric in metrics]
        for metric in chosen:
            candidates = "all" if metric is None else f"best {keep} by {metric}"
            for eta in settings.eta:
                pick = partial(_pick, metric=metric, keep=keep or 0, eta=eta, budget=settings.budget)
                yield candidates, eta, Strategy(f"{candidates}, eta {eta}", StrategyKind.RACE, pick)


def _pick(recorded: RecordedPool, place: int, *, metric: str | None, keep: int, eta: int, budget: float) -> Pick:
    if metric is None:
        return race(recorded, place, np.arange(recorded.size), eta=eta, budget=budget)
    return race_of_best(recorded, place, metric=metric, keep=keep, eta=eta, budget=budget)


def _headed(group: pd.DataFrame) -> list[Row]:
    """The rows of the same candidates, which only the first one names."""
    first, *rest = group.to_dict("records")
    head = {"candidates": first["candidates"] or first["strategy"]}
    return [first | head, *(row | {"candidates": ""} for row in rest)]
