"""Score one source for one target, every metric from one pass; `python -m benchmark.score metric=[ccfv,logme]`."""

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from benchmark.command import asked, resolved, run_command
from benchmark.data.task import Task
from benchmark.errors import SkipPair
from benchmark.jobs import job_key, targets
from benchmark.metric import Metric, Score
from benchmark.opening import source_key
from benchmark.passes import Pass, compute, needed, run_passes, seconds
from benchmark.prepare import prepared
from benchmark.progress import Reporter
from benchmark.records import Data
from benchmark.statistics import Request, Statistics, feature_request
from benchmark.streaming import Stream
from benchmark.tracking import Store
from benchmark.tracking.outbox import Draft
from benchmark.work_folder import work_folder

log = logging.getLogger(__name__)


def score_keys(cfg: DictConfig, *, pretrained: str | None = None, data: str | None = None) -> tuple[str, str]:
    """The job's key, and the key of the pass whose statistics it reads.

    Args:
        cfg: The command's config.
        pretrained: The source's key, where it is known already.
        data: The target's digest, where it is known already.
    """
    inputs = {
        "source": pretrained or source_key(cfg.source),
        "target": resolved(cfg.target),
        "data": data or instantiate(cfg.target).digest(),
        "stream": resolved(cfg.stream),
        "preparation": resolved(cfg.preparation),
        "amp": cfg.device.amp,
    }
    code = targets(inputs["target"])
    streamed = job_key("score", "benchmark.features.stream", inputs, code=[*code, "benchmark.sources.pairing"])
    metrics = resolved(cfg.metric)
    further = needed(get_class(node["_target_"]) for node in metrics.values())
    wanted = {"pass": streamed, "metric": metrics, "further": {name: resolved(cfg.passes[name]) for name in further}}
    wanted |= {"variant": cfg.variant} if cfg.variant else {}
    return job_key("score", "benchmark.score", wanted, code=targets(wanted)), streamed


def run(cfg: DictConfig) -> None:
    """Stream the target once through the source, or read an earlier pass's statistics, and compute every metric."""
    store: Store = instantiate(cfg.tracking)
    target = prepared(cfg.target, cfg.data_dir)
    key, streamed = score_keys(cfg)
    name = f"{cfg.source.name} on {target.name}"
    reporter = Reporter(cfg.progress and Path(cfg.progress), f"score {name}", len(cfg.metric))
    with store.claim(key) as finished:
        if finished is None:
            _score(cfg, store, target, key=key, streamed=streamed, reporter=reporter)
    reporter.finish(key)


def _score(cfg: DictConfig, store: Store, target: Task, *, key: str, streamed: str, reporter: Reporter) -> None:
    name = f"{cfg.source.name} on {target.name}"
    metrics: dict[str, Metric] = {metric: instantiate(node) for metric, node in cfg.metric.items()}
    parts = ("source", "target", "stream", "preparation", "metric", "passes")
    config = {part: resolved(cfg[part]) for part in parts}
    params = {"source": cfg.source.name, "target": target.name, "metrics": ",".join(metrics)} | asked(config)
    with store.run("score", key, name, params=params, config=config, suite=cfg.suite.name) as tracked, \
         work_folder(cfg.output_dir, key) as folder:  # fmt: skip
        tracked.log(tags={"variant": cfg.variant} if cfg.variant else {})
        tracked.describe(
            f"Scores of the source **{cfg.source.name}** for the target **{target.name}**, from one pass over it.",
            [Data(target.name, target.digest(), target.folder, "target")],
        )
        stream = Stream(cfg, store, target, Path(folder))
        requests = list(dict.fromkeys(request for metric in metrics.values() for request in metric.requires))
        found, notes = _earlier(store, streamed, requests, Path(folder))
        start = time.perf_counter()
        try:
            statistics = found or stream(stream.labelled(), requests, classes=target.classes, name="target")
            spent = time.perf_counter() - start
            passes = run_passes(metrics.values(), stream.further(), stream)
        except SkipPair as skip:
            tracked.log(metrics=dict.fromkeys(metrics, math.nan), tags=_skipped(skip, metrics))
            log.info("%s: skipped, %s", name, skip)
            return
        _compute(tracked, metrics, statistics, passes, spent, reporter)  # first: MLflow compares runs by that
        notes = notes if found else "; ".join(stream.pair.model.notes)
        tracked.log(
            params={"windows": cfg.stream.windows},
            metrics={"seconds/pass": spent, "windows/forwarded": statistics.windows.count,
                     "windows/all": statistics.windows.total},
            tags={"statistics": "read" if found else "computed"} | ({"notes": notes} if notes else {}),
        )  # fmt: skip
        if not cfg.variant:  # nobody reads those of a variant again
            statistics.save(Path(folder) / "statistics")
            tracked.file(Path(folder) / "statistics", "statistics")
            tracked.log(tags={"pass_key": streamed})
    log.info("%s: scored by %s", name, ", ".join(metrics))


def _earlier(store: Store, streamed: str, requests: Sequence[Request], folder: Path) -> tuple[Statistics | None, str]:
    """The statistics of an earlier pass that hold all that is asked for, and its notes on the pair."""
    row = store.find_tag("pass_key", streamed)
    if row is None:
        return None, ""
    statistics = Statistics.load(store.download(row.run, "statistics", folder / "earlier"))
    wanted = {request for request in requests if statistics.z or feature_request(request)}
    return (statistics, row.tags.get("notes", "")) if wanted <= set(statistics) else (None, "")


def _skipped(skip: SkipPair, metrics: Iterable[str]) -> dict[str, str]:
    """A pair that cannot be scored: every metric is NaN for one reason."""
    return {"skipped": str(skip)} | {f"reason/{metric}": str(skip) for metric in metrics}


def _compute(  # noqa: PLR0917 - what was found on the way
    tracked: Draft,
    metrics: Mapping[str, Metric],
    statistics: Statistics,
    passes: Mapping[str, Pass],
    spent: float,
    reporter: Reporter,
) -> None:
    values: dict[str, float] = {}
    tags: dict[str, str] = {"backend": statistics.backend}
    for index, (name, metric) in enumerate(metrics.items(), 1):
        start = time.perf_counter()
        score: Score = compute(metric, statistics, passes)
        values[name] = score.value
        values[f"seconds/{name}"] = spent + seconds(metric, passes) + time.perf_counter() - start
        values |= {f"part/{name}/{part}": value for part, value in score.parts.items()}
        if score.reason:
            tags[f"reason/{name}"] = score.reason
        reporter.step(index)
    tracked.log(metrics=values, tags=tags)


def main() -> None:
    """Entry point."""
    run_command("score", run)


if __name__ == "__main__":
    main()
