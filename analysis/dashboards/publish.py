"""Log a study to the tracking store: flat runs for the dashboards, and one summary with tables and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.dashboards.mlflow_runs import Flat, agreement_runs, pair_runs
from analysis.dashboards.presets import STUDY
from analysis.dashboards.refresh import refresh
from analysis.evaluation.study import ALL, MEAN, MEAN_BY_SCAN, SUBSETS, WITHOUT_WEAK, Study
from analysis.tables.render import markdown
from analysis.tables.tables import result_table
from benchmark.storage.digest import text_digest
from benchmark.tracking import Store
from benchmark.tracking.records import Data

MOST_NOTE = 8000  # maximum characters of a description in MLflow


def publish(
    study: Study,
    store: Store,
    *,
    key: str,
    suite: str,
    config: Mapping[str, Any],
    files: Sequence[Path],
    output: Path,
    settings: Mapping[str, str],
    data: Mapping[str, Data],
) -> None:
    """Log a study; the summary comes last, so a finished summary means that the study is complete.

    Args:
        study: The result of `correlate`.
        store: The tracking store.
        key: The key of the summary's job, which the caller has claimed.
        suite: The suite's name.
        config: The resolved settings.
        files: The files of the report, stored as artifacts of the summary.
        output: The folder that artifact paths are relative to.
        settings: The settings shared by all truth and all scores; logged as params of every run, for sweeps.
        data: Target -> its data; targets without data are not logged as inputs.
    """
    for stage, runs in (("pair", pair_runs(study)), ("agreement", agreement_runs(study))):
        logged = store.finished(stage)  # not empty if publishing this study was interrupted
        for flat in runs:
            mine = text_digest(f"{key}/{stage}/{sorted(flat.params.items())}")
            if mine not in logged:
                _log(flat, store, stage=stage, key=mine, study=key, suite=suite, settings=settings, data=data)
    with store.run("summary", key, f"summary of {suite}", params=_facts(study), config=config, suite=suite) as run:
        run.log(metrics=summary_metrics(study), tags={"study": key[:STUDY]})
        run.describe(markdown(result_table(study))[:MOST_NOTE], list(data.values()))
        for path in files:
            place = path.relative_to(output).parent.as_posix()
            run.file(path, "" if place == "." else place)
    refresh(store)


def summary_metrics(study: Study) -> dict[str, float]:
    """Reliability with its interval, ceilings and each metric's weighted Kendall, with and without weak sources."""
    values: dict[str, float] = {}
    for subset, suffix in ((ALL, ""), (WITHOUT_WEAK, f"/{WITHOUT_WEAK}")):
        row = study.reliability_of(MEAN, subset=subset)
        values |= {
            f"reliability{suffix}": float(row["kendall"]),
            f"reliability_low{suffix}": float(row["kendall_low"]),
            f"reliability_high{suffix}": float(row["kendall_high"]),
            f"ceiling{suffix}": float(row["kendall_ceiling"]),
            f"ceiling_pearson{suffix}": float(row["pearson_ceiling"]),
            f"ceiling_weighted_kendall{suffix}": float(row["weighted_kendall_ceiling"]),
        }
        for metric, agreement in study.agreement_of(MEAN, subset=subset).iterrows():
            values[f"weighted_kendall/{metric}{suffix}"] = float(agreement["weighted_kendall"])
    return values


def _log(
    flat: Flat,
    store: Store,
    *,
    stage: str,
    key: str,
    study: str,
    suite: str,
    settings: Mapping[str, str],
    data: Mapping[str, Data],
) -> None:
    params = {**settings, **flat.params}
    with store.run(stage, key, flat.name, params=params, config=params, suite=suite) as run:
        run.log(metrics=flat.metrics, tags={**flat.tags, "study": study[:STUDY]})
        run.describe(flat.note, [data[target] for target in flat.targets if target in data])


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
