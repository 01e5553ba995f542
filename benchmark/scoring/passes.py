"""The passes of a source over a target, as set in the config of `score`, and the extra passes that some estimates need.

Extra passes are over the source's own data, or over perturbed images of the target. A metric declares them by name in
`needs`; each runs once for all metrics that need it. If a pass cannot run, its reason becomes the reason of the
metric's NaN.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from benchmark.data.files.cases import BoxReader, Case
from benchmark.data.prepared.cases import Cases
from benchmark.data.prepared.store import active_store
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.opening import prepared
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError, SkipPair
from benchmark.features.stream import reduce_stream
from benchmark.features.window_selection import check_windows
from benchmark.jobs.cli import resolved
from benchmark.jobs.stage_keys import case_pass_key
from benchmark.metric.protocol import ExtraPassMetric, Metric, score_of
from benchmark.metric.score import Score, needed, undefined
from benchmark.sources.model import Model
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.sources.networks.stage_discovery import stages_of_model
from benchmark.sources.opening import open_source
from benchmark.sources.pairing import Pair, paired
from benchmark.statistics import Request, StageSample, Statistics, answerable
from benchmark.statistics.case_cache import MeasuredPass, entry_path, in_use, kept
from benchmark.tracking import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassCases:
    """The cases of a pass.

    Attributes:
        cases: cases, read one at a time.
        classes: number of classes, background included.
        digests: of each case, its name and the digest of its files.
        preparation: preparation of the cases.
        perturbation: perturbation of their images; None for none.
    """

    cases: Sequence[Case]
    classes: int
    digests: Sequence[tuple[str, str]] = ()
    preparation: Preparation | None = None
    perturbation: "Perturbation | None" = None

    def __getitem__(self, index: int) -> BoxReader:
        """A case, which is read window by window unless it is perturbed."""
        if self.perturbation:
            return next(self.perturbation([self.cases[index]]))
        return self.cases.reader(index) if isinstance(self.cases, Cases) else self.cases[index]

    def __len__(self) -> int:
        return len(self.cases)


class Reduce(Protocol):
    """Streams cases through the source's network and accumulates statistics; see `reduce_stream`."""

    def __call__(self, chosen: PassCases, requests: Sequence[Request], *, name: str) -> MeasuredPass:
        """Run a pass; `name` is the name of the pass, which has its own folder on disk."""


@dataclass(frozen=True)
class ExtraPass:
    """Result of an extra pass.

    Attributes:
        statistics: accumulated statistics; None if the pass could not run.
        reason: why the pass could not run; empty if it ran.
        seconds: duration of the pass, with that of an earlier run for the cases that were read from disk.
    """

    statistics: Statistics | None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Perturbation:
    """Random perturbation of images, the same for every source.

    Attributes:
        transform: random MONAI transform of (c, D, H, W) images that changes intensities and moves no voxel.
        seed: seed of the perturbation; each case has its own stream, independent of the order of cases.
    """

    transform: Any
    seed: int = 0

    def __call__(self, cases: Iterable[Case]) -> Iterator[Case]:
        """Perturb the images of cases.

        Args:
            cases: cases, read one at a time.

        Yields:
            Each case with a perturbed image.

        Raises:
            ValueError: if the transform changes the shape of an image.
        """
        for case in cases:
            digest = hashlib.sha256(f"{self.seed}/{case.name}".encode()).digest()
            self.transform.set_random_state(state=np.random.RandomState(int.from_bytes(digest[:4], "big")))
            image = self.transform(case.image.clone())
            if image.shape != case.image.shape:
                shapes = f"{tuple(case.image.shape)}, got {tuple(image.shape)}"
                raise ValueError(f"`transform` must keep the image's shape {shapes}")
            yield replace(case, image=image.as_tensor() if hasattr(image, "as_tensor") else image)


def own_cases(source: object, preparation: Preparation | None, count: int | None) -> PassCases:
    """Find the cases that a source was trained on.

    Args:
        source: any source; its attribute `task`, if present, is its training data.
        preparation: preparation of the cases; None for that of their task.
        count: number of cases, from the first; None for all.

    Returns:
        The cases, with the source's own classes.

    Raises:
        SkipPair: if the source's training data are not known.
        InputError: if `count` is not positive.
    """
    task: Task | None = getattr(source, "task", None)
    if task is None:
        raise SkipPair(f"source {getattr(source, 'name', '')} has no data of its own")
    # training cases of the suite's sources; other tasks have only `train`
    split = Split.SOURCE_TRAIN if task.has(Split.SOURCE_TRAIN) else Split.TRAIN
    return _first(task, split, preparation or task.preparation, count, "passes.source.cases")


def _first(task: Task, split: Split, preparation: Preparation, count: int | None, setting: str) -> PassCases:
    if count is not None and count < 1:
        raise InputError(f"{setting} must be positive or null, got {count}")
    cases = task.cases(split, preparation)[:count]
    digests = [(files.name, task.case_digest(files)) for files in task.listed(split)[:count]]
    return PassCases(cases, task.classes, digests, preparation)


def run_passes(
    metrics: Iterable[Metric], cases: Mapping[str, Callable[[], PassCases]], reduce: Reduce
) -> dict[str, ExtraPass]:
    """Run every extra pass that the metrics need.

    Args:
        metrics: metrics to compute.
        cases: by name of the pass, a function that finds its cases and raises `SkipPair` if there are none.
        reduce: runs one pass.

    Returns:
        Results by name of the pass.
    """
    users = [metric for metric in metrics if isinstance(metric, ExtraPassMetric)]
    passes = {}
    for name in needed(users):
        requests = dict.fromkeys(request for metric in users if name in metric.needs for request in metric.requires)
        start = time.perf_counter()
        try:
            chosen = cases[name]()
        except SkipPair as skipped:
            passes[name] = ExtraPass(None, str(skipped))
            continue
        measured = reduce(chosen, list(requests), name=name)
        passes[name] = ExtraPass(measured.statistics, seconds=time.perf_counter() - start + measured.read_seconds)
    return passes


def passes_folder(cfg: DictConfig) -> Path:
    """The folder of the statistics of single cases and of the markers of checked ones, shared by all jobs."""
    return Path(cfg.output_dir) / "passes"


def compute(metric: Metric, statistics: Statistics, passes: Mapping[str, ExtraPass]) -> Score:
    """Compute a metric's score from the pass over the target and its extra passes.

    Args:
        metric: any metric.
        statistics: statistics of the target.
        passes: extra passes by name, at least those that the metric needs.

    Returns:
        The score; NaN with a reason if a pass could not run.
    """
    if missing := [passes[name].reason for name in needed([metric]) if passes[name].statistics is None]:
        return undefined(missing[0])
    return score_of(metric, statistics, **{name: passes[name].statistics for name in needed([metric])})


def seconds(metric: Metric, passes: Mapping[str, ExtraPass]) -> float:
    """Total duration of a metric's extra passes, in seconds; 0 without extra passes."""
    return sum(passes[name].seconds for name in needed([metric]))


@dataclass(frozen=True)
class TargetPass:
    """Passes through the source's network, as set in the config of the command.

    Attributes:
        cfg: config of the command.
        store: store of sources that this project pre-trained.
        target: target task.
        source: key of the source.
        folder: folder for data that do not fit in memory.
        use: keeps the statistics of cases that are read from disk from being deleted, until it is closed.
    """

    cfg: DictConfig
    store: Store
    target: Task
    source: str
    folder: Path
    use: ExitStack

    def __post_init__(self) -> None:
        stream = self.cfg.stream
        check_windows(window=stream.window, overlap=stream.overlap, batch=stream.batch, windows=stream.windows)

    def __call__(self, chosen: PassCases, requests: Sequence[Request], *, name: str) -> MeasuredPass:
        """Stream cases once, except those whose statistics an earlier job kept; `name` is the name of the pass."""
        model = self._model if name == "source" else self.pair.model  # its own data match its input channels
        wanted = answerable(requests, model.classes if model.head else 0)
        key = case_pass_key(
            self.cfg,
            name,
            source=self.source,
            preparation=chosen.preparation,
            channels=model.channels,
            stages=any(request.kind is StageSample for request in wanted),
        )
        entries = passes_folder(self.cfg) / key[:32]
        self.use.enter_context(in_use(entries))
        network = cache(partial(model.network, device=self.cfg.device.name))  # not built where every case is read
        stages = cache(partial(stages_of_model, model))
        paths = [entry_path(entries, case, digest) for case, digest in chosen.digests]
        ready = False
        measured: MeasuredPass | None = None
        for index, entry in enumerate(paths):
            stored = kept(entry, wanted)
            if stored is None:
                if not ready and isinstance(chosen.cases, Cases):
                    missing = [at for at in range(index, len(paths)) if kept(paths[at], wanted) is None]
                    chosen.cases.prepare(missing, required=False)
                    ready = True
                spill = self.folder / "spill" / name / str(index)
                stored = self._stream(
                    model, network(), chosen[index], wanted, classes=chosen.classes, stages=stages, spill=spill
                )
                stored.save(entry)
            measured = measured.merge(stored) if measured else stored
        if measured is None:
            raise ValueError("`chosen` must have a case, got 0")
        if (prepared := active_store()) is not None and prepared.prepared + prepared.prepared_in_memory:
            log.info("the %s pass: %s", name, prepared.summary())
        if measured.read:
            log.info("the %s pass: statistics of %d of %d cases were read", name, measured.read, len(chosen))
        return measured

    def _stream(
        self,
        model: Model,
        network: nn.Module,
        case: BoxReader,
        requests: Sequence[Request],
        *,
        classes: int,
        stages: Callable[[], NetworkStages],
        spill: Path,
    ) -> MeasuredPass:
        cfg, start = self.cfg, time.perf_counter()
        statistics = reduce_stream(
            network,
            model.arch.taps,
            [case],
            requests,
            patch_size=model.arch.fit(cfg.stream.window),
            overlap=cfg.stream.overlap,
            batch=cfg.stream.batch,
            windows=cfg.stream.windows,
            classes=classes,
            device=cfg.device.name,
            amp=getattr(torch, cfg.device.amp) if cfg.device.amp else None,
            head=model.head,
            stages=stages,
            folder=spill,
        )
        return MeasuredPass(statistics, time.perf_counter() - start)

    @cached_property
    def pair(self) -> Pair:
        """The source adapted to the target.

        Raises:
            SkipPair: if they cannot be paired.
        """
        return paired(self._model, self.target, **resolved(self.cfg.preparation))

    def labelled(self) -> PassCases:
        """The target's labelled cases, prepared for this source."""
        return _first(self.target, Split.TRAIN, self.pair.preparation, self.cfg.stream.cases, "stream.cases")

    def further(self) -> dict[str, Callable[[], PassCases]]:
        """Functions that find the cases of the extra passes, by name of the pass."""
        passes = self.cfg.passes
        return {
            "source": lambda: own_cases(self._source(), self._model.preparation, passes.source.cases),
            "perturbed": lambda: replace(self.labelled(), perturbation=instantiate(passes.perturbed)),
        }

    def _source(self) -> object:
        """Instantiate the source; its training data are prepared first if they are missing."""
        if self.cfg.source.get("task"):
            prepared(self.cfg.source.task, self.cfg.data_dir)
        return instantiate(self.cfg.source)

    @cached_property
    def _model(self) -> Model:
        return open_source(self.cfg.source, self.store, Path(self.cfg.output_dir))
