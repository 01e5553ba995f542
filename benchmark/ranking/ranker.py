"""What becomes of each source of the pool: opened, adapted, passed over the target's cases, scored; or skipped."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import nn

from benchmark.data.files.case import Case
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError, SkipPair
from benchmark.jobs.keys import job_key, targets
from benchmark.metric.protocol import Metric
from benchmark.ranking.attempts import attempt
from benchmark.ranking.case_bootstrap import Resamples
from benchmark.ranking.case_passes import (
    KILLS,
    CasePasses,
    StreamSettings,
    drop_softmax,
    pass_over,
    sides,
    try_window,
    window_of,
)
from benchmark.ranking.cost import step_seconds
from benchmark.ranking.estimates import SourceOutcome, estimate
from benchmark.ranking.global_settings import restored_settings
from benchmark.ranking.source_errors import SourceError, SourceLogs, blamed_on_source, own_files
from benchmark.sources.model import Model
from benchmark.sources.pairing import Pair, paired
from benchmark.statistics import SoftmaxRequest, feature_request

FAULTS = (InputError, SkipPair, SourceError)  # of a source; some InputErrors stop the command, which `reason` sees


@dataclass(frozen=True)
class Ranker:
    """What all sources of a pool share.

    Attributes:
        target: The task that they are ranked for.
        data: Its digest.
        split: The cases that are scored.
        settings: Resolved configs of task, stream, preparation, amp and metric: what a key is made of.
        stream: How windows go through a network.
        metrics: Name -> metric.
        resamples: Of the cases.
        most_point_draws: Most resamples of a metric that reads sampled points.
        folder: Where passes and outcomes are kept.
        source_key: What identifies a source.
        open_source: Reads it.
        logs: Where the traceback of a source's exception goes.
    """

    target: Task
    data: str
    split: str
    settings: Mapping[str, Any]
    stream: StreamSettings
    metrics: Mapping[str, Metric]
    resamples: Resamples
    most_point_draws: int
    folder: Path
    source_key: Callable[[DictConfig], str]
    open_source: Callable[[DictConfig], Model]
    logs: SourceLogs

    def outcome(self, name: str, node: DictConfig, report: Callable[[str], None] = lambda case: None) -> SourceOutcome:
        """Score a source, or read what an earlier run found; a source that cannot be scored is skipped with its reason.

        The scores are kept before the cost of fine-tuning is measured, which may fail for want of memory.

        Args:
            name: The source's name.
            node: Its config.
            report: Called with the name of each case that is done.

        Raises:
            CaseError: A case of the target cannot be read.
            WriteError: What is found cannot be kept.
        """
        self.logs.clear(name)
        try:
            with restored_settings(), blamed_on_source("while it was scored"):
                return self._outcome(name, node, report)
        except FAULTS as error:
            return SourceOutcome(name, skipped=self.logs.reason(name, error))

    def _outcome(self, name: str, node: DictConfig, report: Callable[[str], None]) -> SourceOutcome:
        with blamed_on_source("while its files were read"):
            passed = self._pass_key(node)
        path = self.folder / "outcomes" / f"{self._outcome_key(passed, node)}.json"
        folder = self.folder / "passes" / passed[:16]
        opened: _Opened | None = None
        if path.is_file():
            found = replace(SourceOutcome.load(path), name=name)
        else:
            opened = self._open(node, folder)
            found = self._score(name, opened, folder, report)
            with own_files(path.parent):
                found.save(path)
            self._drop_softmax(folder)
        if math.isnan(found.facts.get("step_seconds", math.nan)):
            found = self._with_cost(found, path, lambda: opened or self._open(node, folder))
        return found

    def _open(self, node: DictConfig, passes: Path) -> "_Opened":
        """Open a source, unless that killed the process too often.

        Args:
            node: The source's config.
            passes: The folder of its passes, beside which it is marked that it is being opened.
        """
        with own_files(passes.parent):
            passes.parent.mkdir(parents=True, exist_ok=True)
        with attempt(
            passes.with_name(f"{passes.name}.attempt"), "while it was opened and forwarded one window", most=KILLS
        ):
            return self._tried(node)

    def _tried(self, node: DictConfig) -> "_Opened":
        with blamed_on_source("while it was opened"):
            model = self.open_source(node)
        if not model.arch.taps:
            raise SkipPair(f"{model.arch.name}: no layer was found that feeds its segmentation head")
        with blamed_on_source("while it and a case of the target were brought together"):
            pair = paired(model, self.target, **self.settings["preparation"])
            cases = self.target.cases(self.split, pair.preparation)
            window = window_of(pair.model, cases[0].labels.shape, self.stream)
        with blamed_on_source("while its network was made"):
            network = pair.model.network(device=self.stream.device)
        if spoilt := _not_finite(network):
            raise SkipPair(f"its weights hold NaN or inf in {spoilt}")
        try_window(pair.model, network, window, self.stream)
        return _Opened(pair, network, cases, window)

    def _score(self, name: str, opened: "_Opened", folder: Path, report: Callable[[str], None]) -> SourceOutcome:
        model, names = opened.pair.model, self.target.names(self.split)
        asked = dict.fromkeys(request for metric in self.metrics.values() for request in metric.requires)
        requests = [request for request in asked if model.head or feature_request(request)]
        passed = pass_over(
            model,
            opened.network,
            opened.cases,
            names,
            requests,
            stream=self.stream,
            classes=self.target.classes,
            folder=folder,
            report=report,
        )

        def failed(doing: str, error: Exception) -> str:
            try:
                with blamed_on_source(doing):
                    raise error
            except FAULTS as fault:
                return self.logs.reason(name, fault)

        with blamed_on_source("while its scores were computed"):
            estimates = estimate(
                self.metrics,
                passed.cases,
                self.resamples.counts,
                most_point_draws=self.most_point_draws,
                failed=failed,
            )
        return SourceOutcome(name, estimates, facts=_facts(opened, passed), notes=(*model.notes, *self._notes(opened)))

    def _drop_softmax(self, folder: Path) -> None:
        if any(request == SoftmaxRequest() for metric in self.metrics.values() for request in metric.requires):
            with own_files(folder):
                drop_softmax(folder, self.target.names(self.split))

    def _with_cost(self, found: SourceOutcome, path: Path, opening: Callable[[], "_Opened"]) -> SourceOutcome:
        """The outcome with the seconds of a training step, kept; one that cannot be measured is NaN with its reason.

        Only a number is kept: the next run measures again what failed.
        """
        doing = f"in a training step with one window of {sides(found.facts['window'])} voxels"
        try:
            with attempt(path.with_suffix(".attempt"), doing, most=1):
                opened = opening()
                with blamed_on_source(doing):
                    step = step_seconds(
                        opened.network,
                        channels=opened.pair.model.channels,
                        window=opened.window,
                        device=self.stream.device,
                    )
        except FAULTS as error:
            reason = self.logs.reason(found.name, error)
            return replace(found, facts={**found.facts, "step_seconds": math.nan, "step_reason": reason})
        found = replace(found, facts={**found.facts, "step_seconds": step, "step_reason": ""})
        with own_files(path.parent):
            found.save(path)
        return found

    def _notes(self, opened: "_Opened") -> list[str]:
        """What was done to the target for this source's sake."""
        own, chosen = self.target.preparation, opened.pair.preparation
        notes = []
        if chosen.normalisation != own.normalisation:
            notes.append("sees intensities by its own plan")
        if chosen.spacing != own.spacing:
            spacing = " x ".join(f"{side:.3g}" for side in opened.cases[0].spacing)
            notes.append(f"sees the target at its own spacing, {spacing} mm")
        return notes

    def _pass_key(self, node: DictConfig) -> str:
        inputs = {part: self.settings[part] for part in ("task", "stream", "preparation", "amp")}
        inputs |= {"source": self.source_key(node), "data": self.data, "split": self.split}
        code = ("benchmark.sources.opening", "benchmark.sources.pairing", *targets(self.settings["task"]))
        return job_key("rank", "benchmark.ranking.case_passes", inputs, code=code)

    def _outcome_key(self, passed: str, node: DictConfig) -> str:
        metrics = self.settings["metric"]
        counts = hashlib.sha256(self.resamples.counts.tobytes()).hexdigest()
        inputs = {"pass": passed, "metric": metrics, "counts": counts, "point_draws": self.most_point_draws}
        inputs["place"] = str(node.get("path", ""))  # notes name the file, and two files may hold the same weights
        return job_key("rank", "benchmark.ranking.estimates", inputs, code=targets(metrics))


@dataclass(frozen=True)
class _Opened:
    """A source that the target can be shown to."""

    pair: Pair
    network: nn.Module
    cases: Sequence[Case]
    window: tuple[int, ...]


def _not_finite(network: nn.Module) -> str:
    """The first weight that is NaN or infinite, or buffer that is NaN; empty where all are sound."""
    for name, weight in network.named_parameters():
        if not bool(weight.isfinite().all()):
            return name
    return next((name for name, buffer in network.named_buffers() if bool(buffer.isnan().any())), "")


def _facts(opened: _Opened, passed: CasePasses) -> dict[str, Any]:
    """What the pass knows of a source; what the source says of itself stays apart, as its words may be the same."""
    model = opened.pair.model
    return {
        "architecture": model.arch.name,
        "parameters": sum(parameter.numel() for parameter in opened.network.parameters()),
        "dims": model.arch.dims,
        "channels": model.channels,
        "source_classes": model.classes if model.head else 0,
        "taps": list(passed.cases[0].taps),
        "window": list(opened.window),
        "cases": len(passed.cases),
        "seconds": passed.seconds,
        "peak_memory_mb": passed.peak_memory_mb,
        "backend": passed.cases[0].backend,
        "source": {key: value for key, value in model.facts.items() if isinstance(value, str | int | float)},
    }
