"""Result rows of the commands, and the data frames that the analysis reads."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import pandas as pd

from benchmark.metric.score import Score

# Kinds of jobs; rows and the store's tag `stage` have these names in lower case
Stage = StrEnum("Stage", "PREPARE PRETRAIN TRUTH SCORE PAIR AGREEMENT SUMMARY RANK RACE PERF VARIANT")
# Prefixes of a metric's name, or of `dice`, in the metrics and tags of a run
PART = "part/"  # a term of a score: part/<metric>/<term>
SECONDS = "seconds/"  # what a score took, or a fine-tuning up to a rung
REASON = "reason/"  # why a value is NaN
VALIDATION_DICE = "validation_dice/"  # Dice on the validation cases at a rung of a fine-tuning


@dataclass(frozen=True)
class Data:
    """A data set that a job reads.

    Attributes:
        name: The task's name.
        digest: The digest of its files.
        folder: Folder of the files.
        use: Role in the job: `target`, `source`.
    """

    name: str
    digest: str
    folder: str | Path
    use: str


@dataclass(frozen=True)
class Row:
    """A finished job.

    Attributes:
        stage: A `Stage`.
        key: The job's key.
        name: Readable name.
        params: Settings of the job: source, target, seed and so on.
        metrics: Results; NaN if undefined.
        tags: Further facts; `reason/<metric>` is the reason of a NaN.
        run: The store's identifier of the run; empty before delivery.
        seconds: Duration of the job.
    """

    stage: str
    key: str
    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    seconds: float = math.nan

    @property
    def scored(self) -> list[str]:
        """The names of the metrics of a score row."""
        return self.params["metrics"].split(",")

    def score(self, metric: str) -> Score:
        """The score of a metric, with the parts that a pool combines."""
        prefix = f"{PART}{metric}/"
        parts = {name.removeprefix(prefix): value for name, value in self.metrics.items() if name.startswith(prefix)}
        value = self.metrics.get(metric, math.nan)
        reason = self.tags.get(f"{REASON}{metric}", "the store holds no value" if math.isnan(value) else "")
        return Score(value, reason, parts)


def truth_frame(rows: Collection[Row]) -> pd.DataFrame:
    """One line per fine-tuning: source, target, seed, tune, dice, external_dice, the reason of a NaN, seconds.

    `external_dice` is NaN if there is no other patient.
    """
    return pd.DataFrame(
        {
            "source": [row.params["source"] for row in rows],
            "target": [row.params["target"] for row in rows],
            "seed": [int(row.params["seed"]) for row in rows],
            "tune": [row.params["tune"] for row in rows],
            "dice": [row.metrics.get("dice", math.nan) for row in rows],
            "external_dice": [row.metrics.get("external_dice", math.nan) for row in rows],
            "reason": [row.tags.get(f"{REASON}dice", "") for row in rows],
            "seconds": [row.metrics.get("seconds", math.nan) for row in rows],
        }
    )


def rung_frame(rows: Collection[Row]) -> pd.DataFrame:
    """One line per fine-tuning and rung: source, target, seed, tune, rung, dice, seconds.

    Args:
        rows: The rows of the truth stage; those without validation cases have no line.
    """
    lines = [
        (row.params["source"], row.params["target"], int(row.params["seed"]), row.params["tune"],
         name.removeprefix(VALIDATION_DICE), dice, row.metrics.get(f"{SECONDS}{name}", math.nan))
        for row in rows
        for name, dice in sorted(row.metrics.items())
        if name.startswith(VALIDATION_DICE)
    ]  # fmt: skip
    return pd.DataFrame(lines, columns=["source", "target", "seed", "tune", "rung", "dice", "seconds"])


def score_frame(rows: Collection[Row], metrics: Mapping[str, object] | None = None) -> pd.DataFrame:
    """One line per source, target and metric: score, the reason of a NaN, seconds.

    Args:
        rows: The rows of the score stage.
        metrics: Name -> metric; scores of metrics that are normalised over a target's pool are combined here.
    """
    lines = []
    for target in dict.fromkeys(row.params["target"] for row in rows):
        pool = [row for row in rows if row.params["target"] == target]
        for name in dict.fromkeys(name for row in pool for name in row.scored):
            scores = {row.params["source"]: row.score(name) for row in pool if name in row.scored}
            combine = getattr((metrics or {}).get(name), "combine", None)
            final = combine(scores) if combine else scores
            seconds = {row.params["source"]: row.metrics.get(f"{SECONDS}{name}", math.nan) for row in pool}
            lines += [(source, target, name, score.value, score.reason, seconds[source])
                      for source, score in final.items()]  # fmt: skip
    return pd.DataFrame(lines, columns=["source", "target", "metric", "score", "reason", "seconds"])


def source_frame(rows: Collection[Row]) -> pd.DataFrame:
    """One line per source: source, task, arch, width, length, parameters, source_dice, source_cases, classes.

    `classes` is the number of foreground classes that the source was trained on; NaN if its run does not record it.
    """
    return pd.DataFrame(
        {
            "source": [row.params["source"] for row in rows],
            "task": [row.params["task"] for row in rows],
            "arch": [row.params["arch"] for row in rows],
            "width": [int(row.params["width"]) for row in rows],
            "length": [row.params["length"] for row in rows],
            "parameters": [row.metrics["parameters"] for row in rows],
            "source_dice": [row.metrics.get("dice", math.nan) for row in rows],
            "source_cases": [row.metrics["cases"] for row in rows],
            "classes": [row.metrics.get("classes", math.nan) for row in rows],
        }
    )


def newest(rows: Iterable[Row]) -> list[Row]:
    """Keep the newest row of each source, target, seed and `tune`, of rows that come oldest first.

    For score rows the newest value of each metric is kept, so that scoring again with a few metrics does not hide the
    others.
    """
    latest: dict[tuple[str | None, ...], Row] = {}
    for row in rows:
        place = tuple(row.params.get(name) for name in ("source", "target", "seed", "tune"))
        older = latest.get(place)
        latest[place] = _both(older, row) if older is not None and row.stage == Stage.SCORE else row
    return list(latest.values())


def _both(older: Row, newer: Row) -> Row:
    stale = {f"{REASON}{name}" for name in newer.scored}
    return replace(
        newer,
        params={**newer.params, "metrics": ",".join(dict.fromkeys([*older.scored, *newer.scored]))},
        metrics={**older.metrics, **newer.metrics},
        tags={**{tag: value for tag, value in older.tags.items() if tag not in stale}, **newer.tags},
    )
