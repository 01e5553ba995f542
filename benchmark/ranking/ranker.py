"""What becomes of each source of the pool: opened, adapted, passed over the target's cases, scored; or skipped."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from omegaconf import DictConfig

from benchmark.core.torch_settings import restored_settings
from benchmark.data.prepared.cases import Cases
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.checking import CheckedCase
from benchmark.data.tasks.task import Task
from benchmark.jobs.keys import job_key, targets
from benchmark.jobs.stage_keys import stages_code
from benchmark.metric.protocol import Metric, TwoLookMetric
from benchmark.ranking.case_bootstrap import CaseResamples, Counts, second_requests
from benchmark.ranking.case_choice import CaseChoice, half_counts
from benchmark.ranking.case_passes import (
    KILLS,
    OpenedSource,
    StreamSettings,
    check_taps,
    check_weights,
    pass_over,
    sides,
    try_window,
    window_of,
)
from benchmark.ranking.cost import step_seconds
from benchmark.ranking.estimates import SourceOutcome, estimate
from benchmark.ranking.kill_markers import attempt
from benchmark.ranking.source_errors import FAULTS, SourceLogs, blamed_on_source, own_files
from benchmark.sources.model import Model
from benchmark.sources.opening import open_model, source_identity
from benchmark.sources.pairing import paired
from benchmark.statistics import Request, Statistics, answerable
from benchmark.statistics.case_cache import in_use, trim
from benchmark.tracking import Store
from benchmark.tracking.records import Stage


@dataclass(frozen=True)
class RankOptions:
    """Settings of a ranking.

    Attributes:
        settings: Resolved configs of task, stream (without `cases`), preparation, metric and amp, for keys.
        stream: Which windows go through a network, and how.
        split: The cases that are scored.
        point_draws: Most resamples of a metric that reads sampled points.
        output: Where the ranking is written, and passes, outcomes and checkpoints are kept.
        keep_gib: Disk that the statistics of passes may take, GiB.
    """

    settings: Mapping[str, Any]
    stream: StreamSettings
    split: str
    point_draws: int
    output: Path
    keep_gib: float


@dataclass(frozen=True)
class Ranker:
    """What all sources of a pool share.

    Attributes:
        target: The task that they are ranked for.
        choice: The cases and windows that are scored.
        digests: Case -> its digest, in the order of the split.
        checked: Case -> what reading its files once has shown.
        metrics: Name -> metric.
        resamples: Of the cases.
        store: Where those lie that a suite pre-trains itself; not opened for others.
        options: The settings.
    """

    target: Task
    choice: CaseChoice
    digests: Mapping[str, str]
    checked: Mapping[str, CheckedCase]
    metrics: Mapping[str, Metric]
    resamples: CaseResamples
    store: Store
    options: RankOptions

    @property
    def cases(self) -> dict[str, str]:
        """Scored case -> its digest, in the order of the choice."""
        return {name: self.digests[name] for name in self.choice.chosen}

    @property
    def halves(self) -> Counts:
        """(2, m) counts of two halves of the scored cases, which come before the resamples; (0, m) for one case."""
        return half_counts(self.choice.chosen)

    @property
    def counts(self) -> Counts:
        """(b, m) counts of the halves and the resamples."""
        return np.concatenate([self.halves, self.resamples.counts])

    def chosen_cases(self, preparation: Preparation | None = None) -> Cases:
        """The scored cases under a preparation, in the order of the choice."""
        places = {name: place for place, name in enumerate(self.digests)}
        every = self.target.cases(self.options.split, preparation)
        return every.chosen([places[name] for name in self.choice.chosen])

    def with_choice(self, choice: CaseChoice, resamples: CaseResamples) -> "Ranker":
        """The same ranker for another choice of cases and windows, with resamples of those cases."""
        options = self.options
        settings = {**options.settings, "stream": {**options.settings["stream"], "windows": choice.windows}}
        stream = replace(options.stream, windows=choice.windows)
        changed = replace(options, settings=settings, stream=stream)
        return replace(self, choice=choice, resamples=resamples, options=changed)

    @property
    def folder(self) -> Path:
        """Where the ranking of the target is written, with the tracebacks of sources' exceptions."""
        return self.options.output / "rank" / quote(self.target.name, safe="")

    @property
    def logs(self) -> SourceLogs:
        """The tracebacks of sources' exceptions."""
        return SourceLogs(self.folder / "logs")

    def outcome(self, name: str, node: DictConfig, report: Callable[[str], None] = lambda case: None) -> SourceOutcome:
        """Score a source, or read what an earlier run found; a source that cannot be scored is skipped with its reason.

        The scores are kept before the cost of fine-tuning is measured, which may fail for want of memory.

        Args:
            name: The source's name.
            node: Its config.
            report: Called with the name of each case that is done.

        Raises:
            CaseError: A case of the target cannot be read.
            WriteError: The outcome cannot be kept.
        """
        self.logs.clear(name)
        try:
            with restored_settings(), blamed_on_source("while it was scored"):
                return self._outcome(name, node, report)
        except FAULTS as error:
            return SourceOutcome(name, skipped=self.logs.reason(name, error))

    def _outcome(self, name: str, node: DictConfig, report: Callable[[str], None]) -> SourceOutcome:
        path, opened = self.outcome_path(node), None
        cache = path.parents[1]
        if path.is_file():
            outcome = replace(SourceOutcome.load(path), name=name)
        else:
            opened = self.open(node)
            folder = self.pass_folder(node, opened.pair.preparation)
            with ExitStack() as use:
                with own_files(folder):
                    use.enter_context(in_use(folder))
                outcome = self._score(name, opened, folder, report)
            with own_files(path.parent):
                outcome.save(path)
            with own_files(cache):
                trim(folder.parent, keep_gib=self.options.keep_gib)
        if math.isnan(outcome.facts.get("step_seconds", math.nan)):
            outcome = self._with_cost(outcome, path, lambda: opened or self.open(node))
        return outcome

    def outcome_path(self, node: DictConfig) -> Path:
        """The file of a source's outcome."""
        with blamed_on_source("while its files were read"):
            source = self._pass_key(self._pass_inputs(node), self.target.preparation)
        return self._cache / "outcomes" / f"{self._outcome_key(source, node)}.json"

    def pass_folder(self, node: DictConfig, preparation: Preparation) -> Path:
        """The folder of a source's statistics under a preparation."""
        return self._cache / "passes" / self._pass_key(self._pass_inputs(node), preparation)[:16]

    @property
    def _cache(self) -> Path:
        return cache_folder(self.options.output.absolute())  # a source's code may change the working directory

    @contextmanager
    def attempt_to_open(self, node: DictConfig) -> Iterator[None]:
        """Run the block, unless earlier processes were killed while the source was opened and tried."""
        with blamed_on_source("while its files were read"):
            source = self._pass_key(self._pass_inputs(node), self.target.preparation)
        marker = self._cache / "passes" / f"{source[:16]}.attempt"
        with attempt(marker, "while it was opened and forwarded one window", most=KILLS):
            yield

    def open(self, node: DictConfig) -> OpenedSource:
        """Open a source, pair it with the target, and forward one empty window.

        Raises:
            InputError: It cannot be read. Also `SkipPair` and `SourceError`, as in `outcome`.
        """
        with self.attempt_to_open(node):
            start = time.perf_counter()
            with blamed_on_source("while it was opened"):
                model = open_model(node, self.store, self.options.output)
            seconds = time.perf_counter() - start
            check_taps(model)
            with blamed_on_source("while it and a case of the target were brought together"):
                pair = paired(model, self.target, **self.options.settings["preparation"])
                cases = self.chosen_cases(pair.preparation).prepare([0], required=False)
                window = window_of(pair.model, cases.reader(0).shape, self.options.stream)
            start = time.perf_counter()
            with blamed_on_source("while its network was made"):
                network = pair.model.network(device=self.options.stream.device)
            seconds += time.perf_counter() - start
            check_weights(network)
            opened = OpenedSource(pair, network, cases, window, seconds)
            try_window(opened, self.options.stream)
            return opened

    def _score(self, name: str, opened: OpenedSource, folder: Path, report: Callable[[str], None]) -> SourceOutcome:
        model = opened.pair.model
        run = partial(pass_over, opened, self.cases, stream=self.options.stream, classes=self.target.classes)
        cases, cost = run(self.requests(model), folder=folder, report=report)
        notes = [*model.notes, *self._notes(opened)]
        if second := second_requests(self.metrics, cases, resampled=len(self.counts) > 0):
            place = folder.with_name(f"{folder.name}-second")
            with own_files(place), in_use(place):
                again, further = run(second, folder=place)
            cases = [case.extended(own) for case, own in zip(cases, again, strict=True)]
            cost = {
                "seconds": cost["seconds"] + further["seconds"],
                "second_pass_seconds": further["seconds"],
                "peak_memory_mb": max(cost["peak_memory_mb"], further["peak_memory_mb"]),
            }
            users = ", ".join(name for name, metric in self.metrics.items() if isinstance(metric, TwoLookMetric))
            notes.append(f"{users}: a second forward pass ({further['seconds']:.3g} s), since the softmax of "
                         f"{model.classes} source classes is not stored")  # fmt: skip

        def failed(doing: str, error: Exception) -> str:
            try:
                with blamed_on_source(doing):
                    raise error
            except FAULTS as fault:
                return self.logs.reason(name, fault)

        with blamed_on_source("while its scores were computed"):
            draws = self.options.point_draws + len(self.halves)
            estimates = estimate(self.metrics, cases, self.counts, point_draws=draws, failed=failed)
        return SourceOutcome(name, estimates, facts=_facts(opened, cases) | cost, notes=tuple(notes))

    def requests(self, model: Model) -> list[Request]:
        """What a pass of a source accumulates."""
        requests = dict.fromkeys(request for metric in self.metrics.values() for request in metric.requires)
        return answerable(requests, model.classes if model.head else 0)

    def _with_cost(self, outcome: SourceOutcome, path: Path, opening: Callable[[], OpenedSource]) -> SourceOutcome:
        """The outcome with the seconds of a training step, kept; one that cannot be measured is NaN with its reason.

        Only a number is kept: the next run measures again what failed.
        """
        doing = f"in a training step with one window of {sides(outcome.facts['window'])} voxels"
        try:
            with attempt(path.with_suffix(".attempt"), doing, most=1):
                opened = opening()
                with blamed_on_source(doing):
                    step = step_seconds(
                        opened.network,
                        channels=opened.pair.model.channels,
                        window=opened.window,
                        device=self.options.stream.device,
                    )
        except FAULTS as error:
            reason = self.logs.reason(outcome.name, error)
            return replace(outcome, facts={**outcome.facts, "step_seconds": math.nan, "step_reason": reason})
        outcome = replace(outcome, facts={**outcome.facts, "step_seconds": step, "step_reason": ""})
        with own_files(path.parent):
            outcome.save(path)
        return outcome

    def _notes(self, opened: OpenedSource) -> list[str]:
        """What was done to the target for this source's sake."""
        own, chosen = self.target.preparation, opened.pair.preparation
        notes = []
        if chosen.normalisation != own.normalisation:
            notes.append("sees intensities by its own plan")
        if chosen.spacing != own.spacing:
            spacing = " x ".join(f"{side:.3g}" for side in opened.cases.reader(0).spacing)
            notes.append(f"sees the target at its own spacing, {spacing} mm")
        if chosen.orientation:
            notes.append(f"sees the target turned to {chosen.orientation}")
        return notes

    def _pass_inputs(self, node: DictConfig) -> dict[str, object]:
        """What decides the statistics of any case, in addition to its digest and its preparation."""
        settings = self.options.settings
        inputs = {part: settings[part] for part in ("task", "stream", "preparation", "amp")}
        return inputs | {"source": source_identity(node), "channels": self.target.channels}

    def _pass_key(self, inputs: Mapping[str, object], preparation: Preparation) -> str:
        """The key of a source's passes under a preparation, which may be planned from all cases."""
        code = [*targets(inputs["task"]), *stages_code(self.options.settings["metric"])]
        code += ["benchmark.sources.opening", "benchmark.sources.pairing"]
        inputs = {**inputs, "prepared": repr(preparation)}
        return job_key(Stage.RANK, "benchmark.ranking.case_passes", inputs, code=code)

    def _outcome_key(self, source: str, node: DictConfig) -> str:
        metrics = self.options.settings["metric"]
        inputs = {
            "pass": source,
            "cases": list(self.cases.values()),
            "metric": metrics,
            "counts": hashlib.sha256(self.counts.tobytes()).hexdigest(),
            "point_draws": self.options.point_draws,
            "place": str(node.get("path", "")),  # notes name the file, and two files may hold the same weights
        }
        return job_key(Stage.RANK, "benchmark.ranking.estimates", inputs, code=targets(metrics))


def cache_folder(output: Path) -> Path:
    """The folder of passes, outcomes and markers of checked cases."""
    return output / "rank" / "cache"


def _facts(opened: OpenedSource, cases: Sequence[Statistics]) -> dict[str, object]:
    """What the pass knows of a source; what the source says of itself stays apart, as its words may be the same."""
    model = opened.pair.model
    return {
        "architecture": model.arch.name,
        "parameters": sum(parameter.numel() for parameter in opened.network.parameters()),
        "dims": model.arch.dims,
        "channels": model.channels,
        "source_classes": model.classes if model.head else 0,
        "taps": list(cases[0].taps),
        "window": list(opened.window),
        "forwarded": sum(case.windows.count for case in cases),
        "windows": sum(case.windows.total for case in cases),
        "cases": len(cases),
        "backend": cases[0].backend,
        "source": {key: value for key, value in model.facts.items() if isinstance(value, str | int | float)},
    }
