"""The strategies that a replay compares, see `analysis.evaluation.race_replay`.

    fine-tune all      fine-tunes every source and picks the best Dice on the validation cases
    race               successive halving with intervals (`benchmark.racing.halving`), of all sources or of the better
                       half by an estimate
    short fine-tuning  fine-tunes every source for a share of the steps, picks the best Dice on the validation cases,
                       and finishes that fine-tuning
    estimate, control  fine-tunes the source of the highest score; a source without a score is never picked
    random             fine-tunes a random source: the mean over the sources
    floor              picks by the test Dice of the seed itself, which no real choice can see

The race that `python -m benchmark.race` runs after a ranking, of the sources that it cannot separate and at most eight,
is not among them.

The control `random` is left out for the exact mean, and `best_in_hindsight` because it uses the judge's truth.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.evaluation.controls import HINDSIGHT
from analysis.evaluation.kinds import CONTROL, METRIC, RUNG_OF, shown_name
from analysis.evaluation.race_replay import (
    FULL,
    NO_CASES,
    RUNGS,
    Array,
    Pick,
    RaceReplay,
    RecordedPool,
    Strategy,
    StrategyKind,
    best_of,
    mean_rows,
    recorded_pools,
    replay,
)
from analysis.truth.pools import Pool
from benchmark.racing.halving import Measured, Race
from benchmark.ranking.default_metrics import DEFAULT_METRICS

BUDGET = 0.45  # share of the steps of fine-tuning all candidates that a race may spend
ETA = 2  # of n candidates, ceil(n / ETA) go on after a rung
FINE_TUNE_ALL, RACE_ALL, RANDOM, FLOOR = "fine-tune all", "race all", "random pick", "best of the seed's test Dice"
LEFT_OUT = ("random", HINDSIGHT)  # controls


def race_replay(
    pools: Sequence[Pool],
    scores: pd.DataFrame,
    rungs: pd.DataFrame,
    validation: pd.DataFrame,
    *,
    strong: Collection[str] = (),
) -> RaceReplay:
    """Replay all strategies on the pools of a study.

    Args:
        pools: The pools, one per target.
        scores: Columns source, target, metric, score, seconds, kind (of `analysis.evaluation.kinds`).
        rungs: Columns `analysis.evaluation.short_fine_tuning.RUNG_COLUMNS`.
        validation: The Dice of each validation case, see `analysis.evaluation.race_replay.recorded_pools`.
        strong: The sources that are neither from scratch nor hardly trained, which are also compared by themselves.

    Returns:
        Regret and cost of each strategy; without rows if no target has validation cases. The means have a further
        column, `without_weak`: the regret among the strong sources, with the scores of controls as they are.
    """
    kinds: dict[str, str] = dict(scores.drop_duplicates("metric")[["metric", "kind"]].itertuples(index=False))
    compared = strategies(kinds)
    recorded, reasons = recorded_pools(pools, scores, rungs, validation)
    rows = replay(recorded, compared)
    if rows.empty:
        return RaceReplay(rows, rows, reasons)
    recorded, _ = recorded_pools([pool.only(strong) for pool in pools], scores, rungs, validation)
    regrets = (
        mean_rows(replay(recorded, compared)).set_index("strategy")["regret"] if recorded else pd.Series(dtype=float)
    )
    means = mean_rows(rows)
    return RaceReplay(rows, means.assign(without_weak=means["strategy"].map(regrets)), reasons)


def strategies(kinds: Mapping[str, str], *, raced: Collection[str] = DEFAULT_METRICS) -> list[Strategy]:
    """The strategies of a study.

    Args:
        kinds: Metric or control -> its kind.
        raced: The metrics whose better half is raced, if the study has them.
    """
    half = [(name, partial(_race_of_half, metric=name)) for name in raced if name in kinds]
    return [
        fine_tune_all(),
        Strategy(RACE_ALL, StrategyKind.RACE, _race_of_all),
        *(Strategy(f"race the better half by {name}", StrategyKind.RACE, pick) for name, pick in half),
        *(Strategy(shown_name(name), StrategyKind.SHORT, partial(_short, rung=rung)) for name, rung in RUNG_OF.items()),
        *(
            Strategy(name, kind, partial(_top, metric=name))
            for kind, own in ((StrategyKind.ESTIMATE, METRIC), (StrategyKind.CONTROL, CONTROL))
            for name in kinds
            if kinds[name] == own and name not in LEFT_OUT
        ),
        Strategy(RANDOM, StrategyKind.RANDOM, _random),
        Strategy(FLOOR, StrategyKind.FLOOR, _floor),
    ]


def fine_tune_all() -> Strategy:
    """The strategy that fine-tunes every source to the end."""
    return Strategy(FINE_TUNE_ALL, StrategyKind.ALL, partial(_short, rung=FULL))


def race(
    recorded: RecordedPool, place: int, candidates: NDArray[np.int64], *, eta: int = ETA, budget: float = BUDGET
) -> Pick:
    """Replay a race with one seed; the cost has no scoring.

    Args:
        recorded: The pool.
        place: The place of the seed among the pool's seeds.
        candidates: (c,) int64, the places of the candidates in the pool; the first wins if all are equal.
        eta: Of n candidates, ceil(n / eta) go on after a rung.
        budget: Largest share of the steps of fine-tuning the candidates, see `benchmark.racing.halving.Race`.
    """
    if any(rung not in recorded.cases for rung in RUNGS):
        return _nothing(recorded, NO_CASES)
    places = {recorded.pool.sources[candidate]: candidate for candidate in candidates}

    def measure(rung: str, names: Sequence[str]) -> Measured:
        return Measured({name: recorded.cases[rung][places[name], place] for name in names})

    replayed = Race(list(places), RUNGS, budget, eta)
    winner = replayed.run(measure)
    if winner is None:
        return _nothing(recorded, "no candidate of a race has a Dice on the validation cases")
    shares = np.zeros(recorded.size)
    shares[places[winner]] = 1.0
    return Pick(shares, replayed.spent / (recorded.size * RUNGS[FULL]))


def race_of_best(
    recorded: RecordedPool, place: int, *, metric: str, keep: int, eta: int = ETA, budget: float = BUDGET
) -> Pick:
    """Replay a race of the best `keep` sources by an estimate; the cost has the scoring of all sources.

    Other arguments as in `race`; of sources with equal scores the first ones of the pool are raced.
    """
    scores = recorded.scores.get(metric, np.full(recorded.size, np.nan))
    order = np.argsort(-scores, kind="stable")  # NaN last
    candidates = order[np.isfinite(scores[order])][:keep]
    if not len(candidates):
        return _nothing(recorded, f"no source has a score of {metric}")
    pick = race(recorded, place, candidates, eta=eta, budget=budget)
    return Pick(pick.shares, pick.cost + recorded.scoring[metric], pick.reason)


def _race_of_all(recorded: RecordedPool, place: int) -> Pick:
    return race(recorded, place, np.arange(recorded.size))


def _race_of_half(recorded: RecordedPool, place: int, *, metric: str) -> Pick:
    return race_of_best(recorded, place, metric=metric, keep=math.ceil(recorded.size / 2))


def _short(recorded: RecordedPool, place: int, *, rung: str) -> Pick:
    """The best validation Dice after a share of the steps; the pick is then finished."""
    dice: Array = recorded.rungs[rung][:, place]
    share = RUNGS[rung] / RUNGS[FULL]
    reason = "" if np.isfinite(dice).any() else f"no validation Dice at the rung {rung}"
    return Pick(best_of(dice), share + (1 - share) / recorded.size, reason)


def _top(recorded: RecordedPool, _place: int, *, metric: str) -> Pick:
    scores = recorded.scores.get(metric)
    if scores is None or not np.isfinite(scores).any():
        return _nothing(recorded, f"no source has a score of {metric}")
    return Pick(best_of(scores), recorded.scoring[metric] + 1 / recorded.size)


def _random(recorded: RecordedPool, _place: int) -> Pick:
    return Pick(np.full(recorded.size, 1 / recorded.size), 1 / recorded.size)


def _floor(recorded: RecordedPool, place: int) -> Pick:
    return Pick(best_of(recorded.pool.dice[:, place]), 1.0)


def _nothing(recorded: RecordedPool, reason: str) -> Pick:
    return Pick(np.full(recorded.size, np.nan), math.nan, reason)
