"""Score a source on a target, all metrics from one pass; `python -m benchmark.score metric=[ccfv,logme]`."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.checking import check_cases, header_note
from benchmark.data.tasks.opening import prepared
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import SkipPair
from benchmark.jobs.cli import entry_point, resolved, settings_of
from benchmark.jobs.progress import Reporter
from benchmark.jobs.resources import work_folder
from benchmark.jobs.stage_keys import score_keys, source_key
from benchmark.metric.protocol import Metric, second_looks
from benchmark.metric.score import Score
from benchmark.scoring.passes import ExtraPass, TargetPass, compute, passes_folder, run_passes, seconds
from benchmark.statistics import SOFTMAX, Request, Statistic, Statistics, StoredSoftmax, answerable, read_again
from benchmark.statistics.case_cache import MeasuredPass, trim
from benchmark.tracking import Store
from benchmark.tracking.outbox import Draft
from benchmark.tracking.records import PART, REASON, SECONDS, Data

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobKeys:
    """Keys of a job and of its inputs.

    Attributes:
        job: the job's key.
        target_pass: key of the pass over all labelled cases of the target.
        source: key of the source.
        data: digest of the target's data.
    """

    job: str
    target_pass: str
    source: str
    data: str


def run(cfg: DictConfig) -> None:
    """Pass the target through the source once, or read the statistics of an earlier pass, and compute all metrics."""
    store: Store = instantiate(cfg.tracking)
    target = prepared(cfg.target, cfg.data_dir)
    source, data = source_key(cfg.source), target.digest()
    key, streamed = score_keys(cfg, pretrained=source, data=data)
    name = f"{cfg.source.name} on {target.name}"
    reporter = Reporter(cfg.progress, f"score {name}", key, len(cfg.metric))
    with store.claim(key) as finished:
        if finished is None:
            keys = JobKeys(key, streamed, source, data)
            _score(cfg, store, target, name=name, keys=keys, reporter=reporter)
    reporter.finish()


def _score(cfg: DictConfig, store: Store, target: Task, *, name: str, keys: JobKeys, reporter: Reporter) -> None:
    metrics: dict[str, Metric] = {metric: instantiate(node) for metric, node in cfg.metric.items()}
    config = {part: resolved(cfg[part]) for part in ("source", "target", "stream", "preparation", "metric", "passes")}
    params = {"source": cfg.source.name, "target": target.name, "metrics": ",".join(metrics)} | settings_of(config)
    with store.run("score", keys.job, name, params=params, config=config, suite=cfg.suite.name) as tracked, \
         work_folder(cfg.output_dir, keys.job) as folder, ExitStack() as use:  # fmt: skip
        tracked.log(tags={"variant": cfg.variant} if cfg.variant else {})
        tracked.describe(
            f"Scores of the source **{cfg.source.name}** for the target **{target.name}**, from one pass over it.",
            [Data(target.name, keys.data, target.folder, "target")],
        )
        stream = TargetPass(cfg, store, target, keys.source, folder, use)
        requests = list(dict.fromkeys(request for metric in metrics.values() for request in metric.requires))
        earlier, notes = _earlier(store, keys.target_pass, metrics, folder)
        start = time.perf_counter()
        try:
            measured = earlier or _over_target(stream, requests)
            spent = time.perf_counter() - start + measured.read_seconds
            second = _second_look(stream, metrics, measured.statistics)
            passes = run_passes(metrics.values(), stream.further(), stream)
        except SkipPair as skip:
            reasons = {f"{REASON}{metric}": str(skip) for metric in metrics}
            tracked.log(metrics=dict.fromkeys(metrics, math.nan), tags={"skipped": str(skip)} | reasons)
            log.info("%s: skipped, %s", name, skip)
            return
        statistics = second.statistics
        spent_on = {metric: spent + (second.seconds if metric in second.metrics else 0.0) for metric in metrics}
        # logged first: MLflow compares runs by these
        _compute(tracked, metrics, statistics, passes, spent_on, reporter)
        if second.is_forward_pass:
            why = f"{', '.join(second.metrics)}: the softmax of {statistics.z} source classes was not stored"
            tracked.log(metrics={f"{SECONDS}second_pass": second.seconds}, tags={"second_pass": why})
        notes = notes if earlier else "; ".join(stream.pair.model.notes)
        tracked.log(
            params={"windows": cfg.stream.windows},
            metrics={f"{SECONDS}pass": spent, "windows/forwarded": statistics.windows.count,
                     "windows/all": statistics.windows.total},
            tags={"statistics": "read" if measured.read == len(statistics.cases) else "computed"}
            | ({"notes": notes} if notes else {}),
        )  # fmt: skip
        if not cfg.variant:  # statistics of a variant are never read again
            stored = [request for request in statistics if request.kind is StoredSoftmax]  # too large for the store
            statistics.save(folder / "statistics", skip=stored)
            tracked.file(folder / "statistics", "statistics")
            tracked.log(tags={"pass_key": keys.target_pass})
    trim(passes_folder(cfg), keep_gib=cfg.passes.keep_gib)
    log.info("%s: scored by %s", name, ", ".join(metrics))


def _over_target(stream: TargetPass, requests: Sequence[Request]) -> MeasuredPass:
    """The pass over the target, once all files of its cases are checked: a broken last case is reported first."""
    count = stream.cfg.stream.cases
    checked = check_cases(stream.target, Split.TRAIN, folder=passes_folder(stream.cfg) / "checked", count=count)
    if note := header_note(checked):
        log.warning("%s: %s", stream.target.name, note)
    return stream(stream.labelled(), requests, name="target")


@dataclass(frozen=True)
class SecondLook:
    """The second look at a source's softmax: a reading of what the pass stored, or a forward pass of its own.

    Attributes:
        statistics: statistics of the pass and of the second look.
        metrics: names of the metrics that needed it.
        seconds: duration.
    """

    statistics: Statistics
    metrics: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def is_forward_pass(self) -> bool:
        """Whether the network ran again."""
        return bool(self.metrics) and SOFTMAX not in self.statistics


def _second_look(stream: TargetPass, metrics: Mapping[str, Metric], statistics: Statistics) -> SecondLook:
    looks = second_looks(metrics, statistics)
    requests = list(dict.fromkeys(looks.values()))
    if not requests:
        return SecondLook(statistics)
    start, earlier = time.perf_counter(), 0.0
    if SOFTMAX in statistics:
        entries: Mapping[Request, Statistic] = read_again(statistics[SOFTMAX].rows(), requests)
    else:
        measured = stream(stream.labelled(), requests, name="second")
        entries, earlier = measured.statistics, measured.read_seconds
    spent = time.perf_counter() - start + earlier
    return SecondLook(statistics.extended(entries), tuple(looks), spent)


def _earlier(
    store: Store, streamed: str, metrics: Mapping[str, Metric], folder: Path
) -> tuple[MeasuredPass | None, str]:
    """Statistics and notes of an earlier pass; None if it lacks a requested statistic.

    Stored softmax is only on disk, with the statistics of each case.
    """
    row = store.find(streamed, tag="pass_key")
    if row is None:
        return None, ""
    statistics = Statistics.load(store.download(row.run, "statistics", folder / "earlier"))
    wanted = set(answerable((request for metric in metrics.values() for request in metric.requires), statistics.z))
    if not wanted - {SOFTMAX} <= set(statistics) or (SOFTMAX in wanted and second_looks(metrics, statistics)):
        return None, ""
    return MeasuredPass(statistics, 0.0, read=len(statistics.cases)), row.tags.get("notes", "")


def _compute(  # noqa: PLR0917 - has a single caller
    tracked: Draft,
    metrics: Mapping[str, Metric],
    statistics: Statistics,
    passes: Mapping[str, ExtraPass],
    spent: Mapping[str, float],
    reporter: Reporter,
) -> None:
    values: dict[str, float] = {}
    tags: dict[str, str] = {"backend": statistics.backend}
    for index, (name, metric) in enumerate(metrics.items(), 1):
        start = time.perf_counter()
        score: Score = compute(metric, statistics, passes)
        values[name] = score.value
        values[f"{SECONDS}{name}"] = spent[name] + seconds(metric, passes) + time.perf_counter() - start
        values |= {f"{PART}{name}/{part}": value for part, value in score.parts.items()}
        if score.reason:
            tags[f"{REASON}{name}"] = score.reason
        reporter.step(index)
    tracked.log(metrics=values, tags=tags)


main = entry_point("score", run)

if __name__ == "__main__":
    main()
