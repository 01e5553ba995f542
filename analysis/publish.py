"""A study into the tracking store: one flat run for each target and metric, one summary with tables and figures."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.study import ALL, MEAN, MEAN_BY_SCAN, SUBSETS, WITHOUT_WEAK, Study
from benchmark.tracking import Store

SCALES = ("pearson", "kendall", "weighted_kendall", "spearman", "rel_1", "rel_3", "top1_regret", "ndcg")


def publish(
    study: Study,
    store: Store,
    *,
    key: str,
    suite: str,
    config: Mapping[str, Any],
    files: Sequence[Path],
    output: Path,
) -> None:
    """Log a study: the agreement runs first, so that a finished summary means that all of it is there.

    Args:
        study: What `correlate` found.
        store: Where it goes.
        key: The key of the summary's job.
        suite: The suite's name.
        config: The resolved settings.
        files: The files of the report, kept as artifacts of the summary.
        output: The folder that their places are told from.
    """
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    for row in rows.to_dict("records"):
        _agreement(row, store, key=key, suite=suite)
    with store.run("summary", key, f"summary of {suite}", params=_facts(study), config=config, suite=suite) as run:
        run.log(metrics=summary_metrics(study))
        for path in files:
            place = path.relative_to(output).parent.as_posix()
            run.file(path, "" if place == "." else place)


def summary_metrics(study: Study) -> dict[str, float]:
    """Reliability, its interval and the ceiling, with and without weak sources, and each metric's weighted Kendall."""
    found: dict[str, float] = {}
    for subset, suffix in ((ALL, ""), (WITHOUT_WEAK, f"/{WITHOUT_WEAK}")):
        row = study.reliability_of(MEAN, subset=subset)
        found |= {
            f"reliability{suffix}": float(row["kendall"]),
            f"reliability_low{suffix}": float(row["kendall_low"]),
            f"reliability_high{suffix}": float(row["kendall_high"]),
            f"ceiling{suffix}": float(row["kendall_ceiling"]),
            f"ceiling_pearson{suffix}": float(row["pearson_ceiling"]),
            f"ceiling_weighted_kendall{suffix}": float(row["weighted_kendall_ceiling"]),
        }
        for metric, agreement in study.agreement_of(MEAN, subset=subset).iterrows():
            found[f"weighted_kendall/{metric}{suffix}"] = float(agreement["weighted_kendall"])
    return found


def _agreement(row: Mapping[Any, Any], store: Store, *, key: str, suite: str) -> None:
    params = {name: row[name] for name in ("target", "metric", "kind", "tune", "targets")}
    params["sources"] = f"{row['sources']:g}"
    mine = hashlib.sha256(f"{key}/{row['target']}/{row['metric']}".encode()).hexdigest()
    values = {name: float(row[name]) for name in SCALES}
    values |= {f"{name}_{end}": float(row[f"{name}_{end}"]) for name in SCALES for end in ("low", "high")}
    values |= {name: float(value) for name, value in row.items() if str(name).endswith(("_p", "_ceiling", "_share"))}
    values["seconds"] = 0.0 if pd.isna(row["seconds"]) else float(row["seconds"])
    name = f"{row['metric']} on {row['target']}"
    with store.run("agreement", mine, name, params=params, config=dict(params), suite=suite) as run:
        run.log(metrics=values)
        if math.isnan(values["weighted_kendall"]) or row["reason"]:
            run.log(tags={f"reason/{row['metric']}": str(row["reason"])})


def _facts(study: Study) -> dict[str, Any]:
    row = study.reliability_of(MEAN)
    return {
        "tune": study.tune,
        "targets": len(study.pools),
        "sources": f"{row['sources']:g}",
        "seeds": f"{row['seeds']:g}",
        "resamples": study.resamples,
        "seed": study.seed,
        "subsets": ", ".join(SUBSETS.values()),
        "means": f"{MEAN}, {MEAN_BY_SCAN}" if study.scans else MEAN,
    }
