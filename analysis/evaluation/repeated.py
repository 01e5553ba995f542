"""Repeated pre-training: how much the seed of the pre-training decides.

A few sources are pre-trained again with other seeds (`suite.repeated`). With the repeats of one seed in place of these
sources, and all other sources as they are, every score and control is compared with the truth again. This gives

    share      the standard deviation of a score, or of the fine-tuned Dice, between pre-training seeds, as a share of
               its standard deviation over the pool: sqrt(mean over the repeated sources of the variance) / sd(pool),
               mean over targets. That of the Dice contains the noise of the fine-tuning seeds
    movement   weighted Kendall (mean over targets) with the repeats of one seed minus that of the study

All are point values, without intervals. The random control is left out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.agreement.measure_table import WEIGHTED_KENDALL
from analysis.evaluation.controls import CONTROLS, with_controls
from analysis.evaluation.kinds import METRIC
from analysis.truth.pools import Pool, pools

STUDY = "study"  # the pre-training whose sources are those of the study
RANDOM = "random"  # the control that is left out
DICE = "dice"  # the fine-tuned Dice among the quantities whose spread is given
OWN_COLUMNS = ("source", "pretraining", "dice")
SPREAD_COLUMNS = ("metric", "target", "sd", "pool_sd", "share")
AGREEMENT_COLUMNS = ("metric", "kind", "pretraining", "weighted_kendall", "movement")


@dataclass(frozen=True)
class Frames:
    """The inputs of a comparison, see `analysis.evaluation.correlate.correlate`.

    Attributes:
        truth: One row per fine-tuning.
        scores: One row per score.
        sources: One row per source.
    """

    truth: pd.DataFrame
    scores: pd.DataFrame
    sources: pd.DataFrame


@dataclass(frozen=True)
class RepeatedPretraining:
    """What changes when sources are pre-trained again.

    Attributes:
        own: Columns `OWN_COLUMNS`: the Dice of each source on its own task, with each pre-training.
        spread: Columns `SPREAD_COLUMNS`: the standard deviation of `metric` (a metric or `DICE`) between
            pre-training seeds and over the pool, by target.
        agreement: Columns `AGREEMENT_COLUMNS`: the agreement of each metric and control with each pre-training.
        reasons: Why repeats are not used, a sentence each.
    """

    own: pd.DataFrame
    spread: pd.DataFrame
    agreement: pd.DataFrame
    reasons: tuple[str, ...] = ()

    def share(self, metric: str) -> float:
        """The spread between pre-training seeds as a share of that over the pool, mean over targets; NaN if unknown."""
        return float(self.spread.loc[self.spread["metric"] == metric, "share"].mean())

    def movement(self, *metrics: str) -> float:
        """The root mean square movement of the agreement, over metrics and seeds; NaN if none is defined."""
        rows = self.agreement[self.agreement["metric"].isin(metrics) & (self.agreement["pretraining"] != STUDY)]
        return float(np.sqrt((rows["movement"].astype(float) ** 2).mean()))

    def names(self, kind: str) -> list[str]:
        """The metrics of a kind whose movement is defined, see `analysis.evaluation.kinds`."""
        rows = self.agreement[(self.agreement["kind"] == kind) & self.agreement["movement"].notna()]
        return list(dict.fromkeys(map(str, rows["metric"])))

    @property
    def repeats(self) -> list[str]:
        """The pre-trainings with other seeds."""
        return [name for name in dict.fromkeys(map(str, self.own["pretraining"])) if name != STUDY]

    @property
    def table(self) -> pd.DataFrame:
        """All values in one frame: part, metric, kind, source, target, pretraining, value."""
        parts = [self.own.rename(columns={"dice": "value"}).assign(part="own_dice", metric=DICE)]
        for column in ("sd", "pool_sd", "share"):
            rows = self.spread[["metric", "target", column]].rename(columns={column: "value"})
            parts.append(rows.assign(part=f"spread_{column}"))
        for column in ("weighted_kendall", "movement"):
            rows = self.agreement[["metric", "kind", "pretraining", column]].rename(columns={column: "value"})
            parts.append(rows.assign(part=column))
        columns = ["part", "metric", "kind", "source", "target", "pretraining", "value"]
        return pd.concat(parts, ignore_index=True).reindex(columns=columns).fillna(dict.fromkeys(columns[:-1], ""))


def repeated_pretraining(
    study: Frames,
    repeats: Mapping[str, Frames],
    replaced: Mapping[str, Collection[str]],
    *,
    tune: str,
    reasons: Sequence[str] = (),
) -> RepeatedPretraining:
    """Compare the scores and the truth of repeated pre-trainings with those of the study.

    Args:
        study: The inputs of the study.
        repeats: Pre-training, such as "seed 1" -> the inputs with its repeats under the names of the study's sources.
        replaced: Pre-training -> the sources that it replaces.
        tune: What is tuned in the main study.
        reasons: Why repeats are not used, a sentence each.
    """
    every = {STUDY: study} | dict(repeats)
    chosen = {name: [pool for pool in pools(frames.truth) if pool.tune == tune] for name, frames in every.items()}
    tables = {
        name: with_controls(
            chosen[name],
            chosen[name],
            frames.scores,
            frames.sources,
            generator=np.random.default_rng(0),  # of the random control
            controls=[control for control in CONTROLS if control != RANDOM],
        )
        for name, frames in every.items()
    }
    return RepeatedPretraining(
        own=_own(every, replaced),
        spread=_spread(chosen, tables, replaced),
        agreement=_agreement(chosen, tables),
        reasons=tuple(reasons),
    )


def _own(every: Mapping[str, Frames], replaced: Mapping[str, Collection[str]]) -> pd.DataFrame:
    names = sorted({source for sources in replaced.values() for source in sources})
    dice = {name: frames.sources.set_index("source")["source_dice"] for name, frames in every.items()}
    rows = [
        (source, name, float(dice[name][source]))
        for source in names
        for name in every
        if name == STUDY or source in replaced[name]
    ]
    return pd.DataFrame(rows, columns=list(OWN_COLUMNS))


def _spread(
    chosen: Mapping[str, Sequence[Pool]],
    tables: Mapping[str, pd.DataFrame],
    replaced: Mapping[str, Collection[str]],
) -> pd.DataFrame:
    values = {name: _values(chosen[name], tables[name]) for name in chosen}
    rows = []
    for (metric, target), own in values[STUDY].items():
        between = [
            np.var([own[source], *(values[name][metric, target][source] for name in repeats)], ddof=1)
            for source in own
            if (repeats := [name for name, sources in replaced.items() if source in sources])
            and all((metric, target) in values[name] and source in values[name][metric, target] for name in repeats)
        ]
        if between:
            sd, pool_sd = float(np.sqrt(np.mean(between))), float(np.std(list(own.values()), ddof=1))
            rows.append((metric, target, sd, pool_sd, sd / pool_sd if pool_sd > 0 else np.nan))
    return pd.DataFrame(rows, columns=list(SPREAD_COLUMNS))


def _values(chosen: Sequence[Pool], table: pd.DataFrame) -> dict[tuple[str, str], dict[str, float]]:
    """Metric or `DICE`, and target -> source -> its score, or its mean Dice."""
    values = {(DICE, pool.target): dict(zip(pool.sources, map(float, pool.mean), strict=True)) for pool in chosen}
    pooled = {pool.target: pool.sources for pool in chosen}
    scores = table[table["kind"] == METRIC]
    for (metric, target), rows in scores.groupby(["metric", "target"], sort=False):
        if target in pooled:
            kept = rows[rows["source"].isin(pooled[str(target)])]
            values[str(metric), str(target)] = dict(zip(kept["source"], kept["score"].astype(float), strict=True))
    return values


def _agreement(chosen: Mapping[str, Sequence[Pool]], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    means = {name: _means(chosen[name], tables[name]) for name in chosen}
    kinds = tables[STUDY].drop_duplicates("metric")[["metric", "kind"]].itertuples(index=False)
    rows = [
        (metric, kind, name, means[name].get(metric, np.nan), means[name].get(metric, np.nan) - means[STUDY][metric])
        for metric, kind in kinds
        for name in chosen
    ]
    return pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS))


def _means(chosen: Sequence[Pool], table: pd.DataFrame) -> dict[str, float]:
    """Metric -> its weighted Kendall, mean over targets; NaN if a score is missing or a target has no agreement."""
    # pivot_table would drop a metric without any score
    wide = table.pivot(index=["target", "source"], columns="metric", values="score").astype(float)  # noqa: PD010
    blocks = [(pool, wide.loc[pool.target].reindex(pool.sources)) for pool in chosen]
    return {
        str(metric): float(np.mean([_weighted_kendall(block[metric].to_numpy(), pool) for pool, block in blocks]))
        for metric in wide.columns
    }


def _weighted_kendall(scores: np.ndarray, pool: Pool) -> float:
    if not np.isfinite(scores).all():
        return float("nan")
    return float(WEIGHTED_KENDALL.of_rows(scores, pool.mean[None])[0])
