"""Result rows of the commands, and the data frames that the analysis reads."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.metric.score import Score

STAGES = ("prepare", "pretrain", "truth", "score", "pair", "agreement", "summary", "rank", "perf", "variant")


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
        stage: One of STAGES.
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


def truth_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One line per fine-tuning: source, target, seed, tune, dice, external_dice, the reason of a NaN, seconds.

    `external_dice` is NaN if there is no other patient.
    """
    return pd.DataFrame(
        [
            {
                "source": row.params["source"],
                "target": row.params["target"],
                "seed": int(row.params["seed"]),
                "tune": row.params["tune"],
                "dice": row.metrics.get("dice", math.nan),
                "external_dice": row.metrics.get("external_dice", math.nan),
                "reason": row.tags.get("reason/dice", ""),
                "seconds": row.metrics.get("seconds", math.nan),
            }
            for row in rows
        ],
        columns=["source", "target", "seed", "tune", "dice", "external_dice", "reason", "seconds"],
    )


def score_frame(rows: Iterable[Row], metrics: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """One line per source, target and metric: score, the reason of a NaN, seconds.

    Args:
        rows: The rows of the score stage.
        metrics: Name -> metric; scores of metrics that are normalised over a target's pool are combined here.
    """
    rows = list(rows)
    pooled = {name: metric for name, metric in (metrics or {}).items() if hasattr(metric, "combine")}
    lines = []
    for target in dict.fromkeys(row.params["target"] for row in rows):
        pool = [row for row in rows if row.params["target"] == target]
        for name in dict.fromkeys(name for row in pool for name in row.params["metrics"].split(",")):
            scores = {row.params["source"]: _score(row, name) for row in pool if _holds(row, name)}
            final = pooled[name].combine(scores) if name in pooled else scores
            seconds = {row.params["source"]: row.metrics.get(f"seconds/{name}", math.nan) for row in pool}
            lines += [(source, target, name, score.value, score.reason, seconds[source])
                      for source, score in final.items()]  # fmt: skip
    return pd.DataFrame(lines, columns=["source", "target", "metric", "score", "reason", "seconds"])


def newest(rows: Iterable[Row]) -> list[Row]:
    """Keep the newest row of each source, target, seed and `tune`.

    For score rows the newest value of each metric is kept, so that scoring again with a few metrics does not hide the
    others.

    Args:
        rows: Rows, oldest first.
    """
    latest: dict[tuple[str | None, ...], Row] = {}
    for row in rows:
        place = tuple(row.params.get(name) for name in ("source", "target", "seed", "tune"))
        older = latest.get(place)
        latest[place] = _both(older, row) if older is not None and row.stage == "score" else row
    return list(latest.values())


def _both(older: Row, newer: Row) -> Row:
    names = dict.fromkeys([*older.params["metrics"].split(","), *newer.params["metrics"].split(",")])
    stale = {f"reason/{name}" for name in newer.params["metrics"].split(",")}
    return replace(
        newer,
        params={**newer.params, "metrics": ",".join(names)},
        metrics={**older.metrics, **newer.metrics},
        tags={**{tag: value for tag, value in older.tags.items() if tag not in stale}, **newer.tags},
    )


def _holds(row: Row, metric: str) -> bool:
    return metric in row.params["metrics"].split(",")


def _score(row: Row, metric: str) -> Score:
    """Read the score of a metric from a row, with the parts that a pool combines."""
    prefix = f"part/{metric}/"
    parts = {name.removeprefix(prefix): value for name, value in row.metrics.items() if name.startswith(prefix)}
    value = row.metrics.get(metric, math.nan)
    reason = row.tags.get(f"reason/{metric}", "the store holds no value" if math.isnan(value) else "")
    return Score(value, reason, parts)


def source_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """One line per source: source, task, arch, width, length, parameters, source_dice, source_cases."""
    return pd.DataFrame(
        [
            {
                "source": row.params["source"],
                "task": row.params["task"],
                "arch": row.params["arch"],
                "width": int(row.params["width"]),
                "length": row.params["length"],
                "parameters": row.metrics["parameters"],
                "source_dice": row.metrics.get("dice", math.nan),
                "source_cases": row.metrics["cases"],
            }
            for row in rows
        ],
        columns=["source", "task", "arch", "width", "length", "parameters", "source_dice", "source_cases"],
    )
