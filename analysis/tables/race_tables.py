"""The tables and the sentences on whether a race is worth it: what each way to pick a source costs and loses."""

import math
from collections.abc import Iterator
from functools import partial

import pandas as pd

from analysis.evaluation.race_replay import FLOOR_IS, RaceReplay, StrategyKind, difference
from analysis.evaluation.race_strategies import FINE_TUNE_ALL, RACE_ALL, RANDOM
from analysis.evaluation.study import Study
from analysis.tables.number_format import number, percent, with_interval
from analysis.tables.tables import Column, Row, Table, table_of
from benchmark.ranking.default_metrics import DEFAULT_METRICS

GROUPS = (
    (StrategyKind.ALL, StrategyKind.RACE, StrategyKind.SHORT),
    (StrategyKind.ESTIMATE,),
    (StrategyKind.CONTROL, StrategyKind.RANDOM, StrategyKind.FLOOR),
)
STATIC = "static_leaderboard"
# What a race is compared with, besides short fine-tuning; not the best of all estimates, which chance would choose
COMPARED = (*DEFAULT_METRICS, STATIC, RANDOM)


def points(value: float, *, sign: str = "") -> str:
    """A difference of Dice in points, hundredths.

    Example:
        >>> points(0.0123), points(0.004, sign="+")
        ('1.2', '+0.4')
    """
    return number(100 * value, digits=1, sign=sign)


def regret_interval(row: Row, name: str = "regret", *, sign: str = "") -> str:
    """A regret, or another field of a mean, with its interval, in points."""
    return with_interval(row, name, partial(points, sign=sign))


STRATEGY = Column("strategy", lambda row: strategy_name(row["strategy"], row["kind"]))
COST = Column(
    "cost",
    "cost",
    percent,
    "cost: of fine-tuning all sources, with the fine-tuning of the pick. The measured seconds of scoring count as a "
    "share of those of fine-tuning all; where fine-tuning takes longer than here, scoring is a smaller share.",
)
REGRET = Column(
    "regret [95%]",
    regret_interval,
    note="regret: Dice points that the pick is below the best source of the target, judged by the fine-tuning seeds "
    "that it was not picked with; mean over targets. Intervals are of Student's t over the targets.",
)
EXTRA = Column(
    "above fine-tuning all [95%]",
    lambda row: "" if row["kind"] == StrategyKind.ALL else regret_interval(row, "extra", sign="+"),
    note="above fine-tuning all: the difference of regret, target by target.",
)
WEAK = Column("without weak", "without_weak", points, "without weak: regret without scratch and short sources.")
COLUMNS = (STRATEGY, COST, REGRET, EXTRA, WEAK)


def race_tables(study: Study) -> tuple[Table, ...]:
    """Cost and regret of each strategy as means, and the regret by target; the reasons if no target is replayed."""
    replay = study.race
    if replay is None:
        return ()
    if replay.rows.empty:
        rows = tuple(replay.reasons.items())
        return (Table("Is a race worth it? No target can be replayed", ("target", "reason"), (rows,)),) if rows else ()
    return (_mean_table(replay), _target_table(replay))


def race_sentences(study: Study) -> tuple[str, ...]:
    """What a race of all sources costs and loses, and whether it is worth it; empty without a replay."""
    replay = study.race
    if replay is None or replay.rows.empty:
        return ()
    means = _by_name(replay)
    race = means[RACE_ALL]
    if not math.isfinite(race["extra"]):
        reasons = replay.rows.loc[replay.rows["strategy"].isin([RACE_ALL, FINE_TUNE_ALL]), "reason"]
        return (f"Whether a race is worth it is not known: {'; '.join(dict.fromkeys(filter(None, reasons)))}.",)
    first = (
        f"Racing all sources costs {percent(race['cost'])} of fine-tuning all, and its winner is "
        f"{regret_interval(race, 'extra')} {study.measure_name} points worse than the choice by fine-tuning all "
        f"(mean over {race['targets']:.0f} targets); a random pick is {points(means[RANDOM]['extra'])} points worse."
    )
    return first, _worth(study, replay)


def strategy_name(strategy: str, kind: str) -> str:
    """The name of a strategy in tables and figures: that of an estimate or control says that its top is picked.

    Example:
        >>> strategy_name("logme", StrategyKind.ESTIMATE), strategy_name("race all", StrategyKind.RACE)
        ('top of logme', 'race all')
    """
    return f"top of {strategy}" if kind in (StrategyKind.ESTIMATE, StrategyKind.CONTROL) else strategy


def race_notes(replay: RaceReplay) -> Iterator[str]:
    """The targets that are not replayed, and the strategies that are undefined on a target, with their reasons."""
    yield from (f"{target}: {reason}" for target, reason in replay.reasons.items())
    explained = replay.rows[replay.rows["reason"] != ""]
    for (target, reason), rows in explained.groupby(["target", "reason"], sort=False):
        names = list(rows["strategy"])
        shown = "all strategies" if len(names) == replay.rows["strategy"].nunique() else ", ".join(names)
        yield f"{shown} on {target}: {reason}"


def _worth(study: Study, replay: RaceReplay) -> str:
    """Whether the best strategy of those that cost no more than the race loses more than it.

    Either verdict needs an interval without 0. The other strategy is chosen after the results are known, which favours
    it.
    """
    most = _by_name(replay)[RACE_ALL]["cost"]
    compared = (
        row
        for name, row in _by_name(replay).items()
        if name in COMPARED or row["kind"] == StrategyKind.SHORT
        if row["cost"] <= most and math.isfinite(row["regret"])
    )
    best = min(compared, key=lambda row: float(row["regret"]))  # a random pick costs less than any race
    gap = difference(replay.rows, best["strategy"], RACE_ALL)
    name = strategy_name(best["strategy"], best["kind"])
    costs = f"{name}, chosen afterwards as the best of those that cost no more, costs {percent(best['cost'])}"
    unit = f"{study.measure_name} points"
    if gap["regret_low"] > 0:
        verdict = "The race is worth it here"
    elif gap["regret_high"] < 0:
        verdict = "The race is not worth it here"
    else:
        verdict = "That the race is worth it is not shown here"
    if gap["regret"] > 0:
        return f"{verdict}: {costs} and loses {regret_interval(gap)} {unit} more than the race."
    less = regret_interval(gap, sign="+")
    return f"{verdict}: {costs} and does not lose more; its regret minus the race's is {less} {unit}."


def _by_name(replay: RaceReplay) -> dict[str, Row]:
    """Strategy -> its mean over targets."""
    return {row["strategy"]: row for row in replay.means.to_dict("records")}


def _mean_table(replay: RaceReplay) -> Table:
    means = replay.means
    title = (
        f"Is a race worth it? Cost and regret of each way to pick a source: mean over "
        f"{means['targets'].max():.0f} targets with {number(means['sources'].max(), digits=1)} sources each"
    )
    return table_of(title, COLUMNS, _groups(means), [FLOOR_IS, *race_notes(replay)])


def _target_table(replay: RaceReplay) -> Table:
    rows = replay.rows.to_dict("records")
    regrets: dict[tuple[str, str], float] = {(row["strategy"], row["target"]): row["regret"] for row in rows}
    targets = list(dict.fromkeys(replay.rows["target"]))

    def column(target: str) -> Column:
        return Column(target, lambda row: regrets[row["strategy"], target], points)

    title = "By target: regret of each way to pick a source, in points"
    return table_of(title, (STRATEGY, *map(column, targets)), _groups(replay.means))


def _groups(means: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of each of `GROUPS`, by kind and regret, NaN last."""
    for kinds in GROUPS:
        own = means[means["kind"].isin(kinds)]
        places = own["kind"].map({kind: place for place, kind in enumerate(kinds)})
        yield own.assign(place=places).sort_values(["place", "regret"], kind="stable")
