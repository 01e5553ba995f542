"""Replayed races: what each way to pick one source costs, and how much Dice it loses.

The goal is one fine-tuned network. A *strategy* picks a source and fine-tunes it to the end, which counts as a part of
its cost: picking the top of an estimate, racing all sources, fine-tuning all of them, and so on.
Nothing is trained for this: every fine-tuning of the truth has measured its Dice on the validation cases after 1/8,
1/4, 1/2 and all of its steps, and these are all that a race sees.

Let d_it be the Dice of source i on the test cases with seed t, and p the source that a strategy picks with seed s, from
the validation Dice of that seed or from scores. The pick is judged by the other seeds, since it depends on
the noise of its own seed:

    y_is = mean over t != s of d_it
    regret = mean over s of (max over i of y_is - y_ps), then mean over targets; lower is better
    cost = steps of all fine-tunings / (n sources x all steps) + seconds of scoring all / seconds of fine-tuning all

Sources with equal scores share a pick. The seconds are measured, means over the sources. Those of fine-tuning
contain the measurement of the validation cases after the last step; earlier measurements are not counted, nor are the
other targets that the static leaderboard needs.

The judge is noisy, so no pick has a regret of 0: not even the *floor*, which picks by the test Dice of its own seed. An
interval of a mean over targets is that of Student's t: what other targets could give, with the same sources and seeds.
It is wide for few targets, too narrow if targets share a scan, and may go below 0. Regret is undefined with a single
seed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.evaluation.short_fine_tuning import ONE_SEED
from analysis.truth.pools import Pool, Scope
from benchmark.racing.halving import student_interval

Array = NDArray[np.float64]

RUNGS = {"eighth": 1, "quarter": 2, "half": 4, "full": 8}  # rung -> its step, in eighths of the steps
FULL = "full"
FEWEST_TARGETS = 2  # that an interval needs
NO_RUNGS = "no validation cases were measured during fine-tuning"
NO_CASES = "the Dice of each validation case is not stored"
ROW_COLUMNS = ("scope", "target", "strategy", "kind", "regret", "cost", "sources", "seeds", "reason")
INTERVALS = ("regret", "extra")  # of the means: the regret, and how much it is above that of fine-tuning all
FLOOR_IS = (
    "best of the seed's test Dice: no real choice can see it. It shows how much the noise of the judge costs, so a "
    "difference of that size means little, and a regret below it is chance."
)


class StrategyKind(StrEnum):
    """What a strategy decides by, in the order of tables."""

    ALL = "fine-tune all"
    RACE = "race"
    SHORT = "short fine-tuning"
    ESTIMATE = "estimate"
    CONTROL = "control"
    RANDOM = "random"
    FLOOR = "floor"


@dataclass(frozen=True)
class RecordedPool:
    """A pool with all that strategies decide by.

    Attributes:
        pool: The truth of n sources with s seeds.
        rungs: Rung -> (n, s) float64, mean Dice on the validation cases; NaN where it is missing.
        cases: Rung -> (n, s, m) float64, what each validation case contributes to that mean, as a race compares
            candidates (`benchmark.racing.halving.case_contributions`); NaN where it is missing. Without an entry if
            the Dice of each case is not stored.
        scores: Metric or control -> (n,) float64; NaN where it is missing.
        scoring: Metric or control -> seconds of scoring all sources over seconds of fine-tuning them all.
    """

    pool: Pool
    rungs: Mapping[str, Array]
    cases: Mapping[str, Array] = field(default_factory=dict)
    scores: Mapping[str, Array] = field(default_factory=dict)
    scoring: Mapping[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The number of sources."""
        return len(self.pool.sources)


@dataclass(frozen=True)
class Pick:
    """What a strategy picks with one seed.

    Attributes:
        shares: (n,) float64, the share of each source, which sum to 1; all NaN if nothing can be picked.
        cost: As defined above; NaN if it is unknown.
        reason: Why nothing can be picked, or "".
    """

    shares: Array
    cost: float
    reason: str = ""


@dataclass(frozen=True)
class Strategy:
    """A way to pick one source.

    Attributes:
        name: Its name.
        kind: What it decides by.
        pick: Picks a source of a pool with the seed at a place among the pool's seeds.
    """

    name: str
    kind: StrategyKind
    pick: Callable[[RecordedPool, int], Pick]


@dataclass(frozen=True)
class RaceReplay:
    """Regret and cost of the strategies.

    Attributes:
        rows: Columns `ROW_COLUMNS`: one row per target and strategy.
        means: The same with the mean over targets, a row per strategy. For each of `INTERVALS` the value and the ends
            of its interval, NAME_low and NAME_high; extra is the regret minus that of fine-tuning all, target by
            target. Further columns are those that the maker of the replay names.
        reasons: Target that is not replayed -> reason.
    """

    rows: pd.DataFrame
    means: pd.DataFrame
    reasons: Mapping[str, str] = field(default_factory=dict)


def recorded_pools(
    pools: Sequence[Pool], scores: pd.DataFrame, rungs: pd.DataFrame, validation: pd.DataFrame
) -> tuple[list[RecordedPool], dict[str, str]]:
    """Join the pools with what was measured during their fine-tunings, and with the scores.

    Args:
        pools: The pools, one per target.
        scores: Columns source, target, metric, score, seconds.
        rungs: Columns `analysis.evaluation.short_fine_tuning.RUNG_COLUMNS`.
        validation: Columns source, target, seed, tune, rung, case, dice: one row per fine-tuning, rung and validation
            case, what the case contributes to the mean Dice (`benchmark.racing.halving.case_contributions`); may be
            empty.

    Returns:
        The pools with validation cases, and target -> reason of the others.
    """
    recorded, reasons = [], {}
    for pool in pools:
        if not pool.sources:
            continue
        own = rungs[(rungs["target"] == pool.target) & (rungs["tune"] == pool.tune)]
        tables = {rung: _table(own[own["rung"] == rung], pool, "dice") for rung in RUNGS}
        if not np.isfinite(list(tables.values())).any():
            reasons[pool.target] = NO_RUNGS
            continue
        seconds = _mean(_table(own[own["rung"] == FULL], pool, "seconds"))
        here = scores[scores["target"] == pool.target]
        groups = {str(metric): rows.set_index("source") for metric, rows in here.groupby("metric", sort=False)}
        recorded.append(
            RecordedPool(
                pool,
                tables,
                _cases(validation[(validation["target"] == pool.target) & (validation["tune"] == pool.tune)], pool),
                {name: _column(rows, pool, "score") for name, rows in groups.items()},
                {name: _mean(_column(rows, pool, "seconds")) / seconds for name, rows in groups.items()},
            )
        )
    return recorded, reasons


def replay(recorded: Sequence[RecordedPool], strategies: Sequence[Strategy]) -> pd.DataFrame:
    """Replay every strategy on every target.

    Args:
        recorded: The pools.
        strategies: The strategies.

    Returns:
        Columns `ROW_COLUMNS`.
    """
    rows = [_row(pool, strategy) for pool in recorded for strategy in strategies]
    return pd.DataFrame(rows, columns=list(ROW_COLUMNS))


def mean_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The means over targets, one row per strategy in the order of `rows`; as `RaceReplay.means`.

    A strategy that is undefined on a target has no mean, and the reason names the target.
    """
    regrets = rows.pivot_table(index="target", columns="strategy", values="regret", dropna=False)
    fine_tuned = rows.loc[rows["kind"] == StrategyKind.ALL, "strategy"].unique()
    base = regrets[fine_tuned[0]] if len(fine_tuned) else pd.Series(np.nan, index=regrets.index)
    means = []
    for name, part in rows.groupby("strategy", sort=False):
        undefined = part.loc[part["regret"].isna(), "target"]
        values = regrets[name].to_numpy(dtype=np.float64)
        means.append(
            {"scope": Scope.MEAN, "target": "", "strategy": name, "kind": part["kind"].iloc[0]}
            | _interval("regret", values)
            | _interval("extra", values - base.to_numpy(dtype=np.float64))
            | {"cost": float(np.mean(part["cost"])), "targets": len(part), "sources": part["sources"].mean()}
            | {"reason": f"undefined on {', '.join(undefined)}" if len(undefined) else ""}
        )
    return pd.DataFrame(means)


def difference(rows: pd.DataFrame, strategy: str, other: str) -> dict[str, float]:
    """The regret of a strategy minus that of another one, mean over targets: regret, regret_low, regret_high.

    Args:
        rows: Rows of targets, columns `ROW_COLUMNS`.
        strategy: Its name.
        other: The name of the other one.
    """
    regrets = rows.pivot_table(index="target", columns="strategy", values="regret", dropna=False)
    return _interval("regret", (regrets[strategy] - regrets[other]).to_numpy(dtype=np.float64))


def best_of(values: Array) -> Array:
    """(n,) the shares of the sources with the highest value, in equal parts; NaN if no value is known.

    Example:
        >>> best_of(np.array([0.25, 0.5, 0.5, np.nan])).tolist()
        [0.0, 0.5, 0.5, 0.0]
    """
    if not np.isfinite(values).any():
        return np.full(len(values), np.nan)
    best = values == np.nanmax(values)
    shares: Array = best / best.sum()
    return shares


def _row(recorded: RecordedPool, strategy: Strategy) -> dict[str, object]:
    pool, dice = recorded.pool, recorded.pool.dice
    picks = [strategy.pick(recorded, place) for place in range(len(pool.seeds))]
    regrets = [math.nan]
    if len(pool.seeds) > 1:
        judges = [np.delete(dice, place, axis=1).mean(axis=1) for place in range(len(pool.seeds))]
        regrets = [float(judge.max() - pick.shares @ judge) for judge, pick in zip(judges, picks, strict=True)]
    reasons = [ONE_SEED] if len(pool.seeds) == 1 else [pick.reason for pick in picks if pick.reason]
    return {
        "scope": Scope.TARGET,
        "target": pool.target,
        "strategy": strategy.name,
        "kind": strategy.kind,
        "regret": float(np.mean(regrets)),
        "cost": float(np.mean([pick.cost for pick in picks])),
        "sources": recorded.size,
        "seeds": len(pool.seeds),
        "reason": "; ".join(dict.fromkeys(reasons)),
    }


def _interval(name: str, values: Array) -> dict[str, float]:
    """The mean over targets and its interval of Student's t."""
    low, high = student_interval(values) if len(values) >= FEWEST_TARGETS else (math.nan, math.nan)
    return {name: float(np.mean(values)), f"{name}_low": low, f"{name}_high": high}


def _table(rows: pd.DataFrame, pool: Pool, column: str) -> Array:
    """(n, s) the values of a column by source and seed; NaN where it is missing."""
    table = rows.pivot_table(index="source", columns="seed", values=column, dropna=False)
    values: Array = table.reindex(index=list(pool.sources), columns=list(pool.seeds)).to_numpy(dtype=np.float64)
    return values


def _cases(rows: pd.DataFrame, pool: Pool) -> dict[str, Array]:
    """Rung -> (n, s, m) the contribution of each validation case."""
    cases = sorted(rows["case"].unique())
    tables = {}
    for rung, own in rows.groupby("rung"):
        table = own.pivot_table(index="source", columns=["seed", "case"], values="dice", dropna=False)
        columns = pd.MultiIndex.from_product([list(pool.seeds), cases])
        values = table.reindex(index=list(pool.sources), columns=columns).to_numpy(dtype=np.float64)
        tables[str(rung)] = values.reshape(len(pool.sources), len(pool.seeds), len(cases))
    return tables


def _column(rows: pd.DataFrame, pool: Pool, column: str) -> Array:
    """(n,) the values of a column by source; NaN where it is missing."""
    values: Array = rows[column].reindex(list(pool.sources)).to_numpy(dtype=np.float64)
    return values


def _mean(values: Array) -> float:
    """The mean of the known values; NaN without any."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan
