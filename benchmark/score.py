"""Score a source on a target, all metrics from one pass; `python -m benchmark.score metric=[ccfv,logme]`."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.opening import prepared
from benchmark.data.tasks.task import Task
from benchmark.errors import SkipPair
from benchmark.jobs.cli import entry_point, resolved, settings_of
from benchmark.jobs.progress import Reporter
from benchmark.jobs.resources import work_folder
from benchmark.jobs.stage_keys import score_keys
from benchmark.metric.protocol import Metric
from benchmark.metric.score import Score
from benchmark.scoring.passes import ExtraPass, TargetPass, compute, run_passes, seconds
from benchmark.statistics import Request, Statistics, feature_request
from benchmark.tracking import Store
from benchmark.tracking.outbox import Draft
from benchmark.tracking.records import PART, REASON, SECONDS, Data

log = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Pass the target through the source once, or read the statistics of an earlier pass, and compute all metrics."""
    store: Store = instantiate(cfg.tracking)
    target = prepared(cfg.target, cfg.data_dir)
    key, streamed = score_keys(cfg)
    name = f"{cfg.source.name} on {target.name}"
    reporter = Reporter(cfg.progress, f"score {name}", key, len(cfg.metric))
    with store.claim(key) as finished:
        if finished is None:
            _score(cfg, store, target, name=name, key=key, streamed=streamed, reporter=reporter)
    reporter.finish()


def _score(
    cfg: DictConfig, store: Store, target: Task, *, name: str, key: str, streamed: str, reporter: Reporter
) -> None:
    metrics: dict[str, Metric] = {metric: instantiate(node) for metric, node in cfg.metric.items()}
    config = {part: resolved(cfg[part]) for part in ("source", "target", "stream", "preparation", "metric", "passes")}
    params = {"source": cfg.source.name, "target": target.name, "metrics": ",".join(metrics)} | settings_of(config)
    with store.run("score", key, name, params=params, config=config, suite=cfg.suite.name) as tracked, \
         work_folder(cfg.output_dir, key) as folder:  # fmt: skip
        tracked.log(tags={"variant": cfg.variant} if cfg.variant else {})
        tracked.describe(
            f"Scores of the source **{cfg.source.name}** for the target **{target.name}**, from one pass over it.",
            [Data(target.name, target.digest(), target.folder, "target")],
        )
        stream = TargetPass(cfg, store, target, folder)
        requests = list(dict.fromkeys(request for metric in metrics.values() for request in metric.requires))
        earlier, notes = _earlier(store, streamed, requests, folder)
        start = time.perf_counter()
        try:
            statistics = earlier or stream(stream.labelled(), requests, classes=target.classes, name="target")
            spent = time.perf_counter() - start
            passes = run_passes(metrics.values(), stream.further(), stream)
        except SkipPair as skip:
            reasons = {f"{REASON}{metric}": str(skip) for metric in metrics}
            tracked.log(metrics=dict.fromkeys(metrics, math.nan), tags={"skipped": str(skip)} | reasons)
            log.info("%s: skipped, %s", name, skip)
            return
        _compute(tracked, metrics, statistics, passes, spent, reporter)  # logged first: MLflow compares runs by these
        notes = notes if earlier else "; ".join(stream.pair.model.notes)
        tracked.log(
            params={"windows": cfg.stream.windows},
            metrics={f"{SECONDS}pass": spent, "windows/forwarded": statistics.windows.count,
                     "windows/all": statistics.windows.total},
            tags={"statistics": "read" if earlier else "computed"} | ({"notes": notes} if notes else {}),
        )  # fmt: skip
        if not cfg.variant:  # statistics of a variant are never read again
            statistics.save(folder / "statistics")
            tracked.file(folder / "statistics", "statistics")
            tracked.log(tags={"pass_key": streamed})
    log.info("%s: scored by %s", name, ", ".join(metrics))


def _earlier(store: Store, streamed: str, requests: Sequence[Request], folder: Path) -> tuple[Statistics | None, str]:
    """Statistics and notes of an earlier pass; None if it lacks a requested statistic."""
    row = store.find(streamed, tag="pass_key")
    if row is None:
        return None, ""
    statistics = Statistics.load(store.download(row.run, "statistics", folder / "earlier"))
    wanted = {request for request in requests if statistics.z or feature_request(request)}
    return (statistics, row.tags.get("notes", "")) if wanted <= set(statistics) else (None, "")


def _compute(  # noqa: PLR0917 - has a single caller
    tracked: Draft,
    metrics: Mapping[str, Metric],
    statistics: Statistics,
    passes: Mapping[str, ExtraPass],
    spent: float,
    reporter: Reporter,
) -> None:
    values: dict[str, float] = {}
    tags: dict[str, str] = {"backend": statistics.backend}
    for index, (name, metric) in enumerate(metrics.items(), 1):
        start = time.perf_counter()
        score: Score = compute(metric, statistics, passes)
        values[name] = score.value
        values[f"{SECONDS}{name}"] = spent + seconds(metric, passes) + time.perf_counter() - start
        values |= {f"{PART}{name}/{part}": value for part, value in score.parts.items()}
        if score.reason:
            tags[f"{REASON}{name}"] = score.reason
        reporter.step(index)
    tracked.log(metrics=values, tags=tags)


main = entry_point("score", run)

if __name__ == "__main__":
    main()
