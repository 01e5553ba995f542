"""What becomes of each source of the pool: opened, adapted, passed over the target's cases, scored; or skipped."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from benchmark.data.case import Case
from benchmark.data.task import Task
from benchmark.errors import InputError, SkipPair
from benchmark.jobs import job_key, targets
from benchmark.metric import Metric
from benchmark.ranking.cost import step_seconds
from benchmark.ranking.estimates import Outcome, estimate
from benchmark.ranking.passes import Pass, Stream, drop_softmax, pass_over, try_window, window_of
from benchmark.ranking.resamples import Resamples
from benchmark.sources.model import Model
from benchmark.sources.pairing import Pair, paired
from benchmark.statistics import SoftmaxRequest


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
    """

    target: Task
    data: str
    split: str
    settings: Mapping[str, Any]
    stream: Stream
    metrics: Mapping[str, Metric]
    resamples: Resamples
    most_point_draws: int
    folder: Path
    source_key: Callable[[DictConfig], str]
    open_source: Callable[[DictConfig], Model]

    def outcome(self, name: str, node: DictConfig, report: Callable[[str], None] = lambda case: None) -> Outcome:
        """Score a source, or read what an earlier run found; a source that cannot be scored is skipped with its reason.

        Args:
            name: The source's name.
            node: Its config.
            report: Called with the name of each case that is done.

        Raises:
            InputError: A case of the target cannot be read.
        """
        try:
            passed = self._pass_key(node)
            path = self.folder / "outcomes" / f"{self._outcome_key(passed)}.json"
            if path.is_file():
                return replace(Outcome.load(path), name=name)
            opened = self._open(name, node)
        except (InputError, SkipPair) as error:
            return Outcome(name, skipped=" ".join(str(error).split()))
        try:
            found = self._score(name, opened, self.folder / "passes" / passed[:16], report)
        except SkipPair as error:
            return Outcome(name, skipped=str(error), notes=opened.pair.model.notes)
        found.save(path)
        return found

    def _open(self, name: str, node: DictConfig) -> "_Opened":
        pair = paired(self.open_source(node), self.target, **self.settings["preparation"])
        cases = self.target.cases(self.split, pair.preparation)
        opened = _Opened(pair, cases, window_of(pair.model, cases[0].labels.shape, self.stream))
        try_window(pair.model, pair.model.network(device=self.stream.device), opened.window, self.stream)
        return opened

    def _score(self, name: str, opened: "_Opened", folder: Path, report: Callable[[str], None]) -> Outcome:
        model, stream = opened.pair.model, self.stream
        network = model.network(device=stream.device)
        requests = list(dict.fromkeys(request for metric in self.metrics.values() for request in metric.requires))
        names = self.target.names(self.split)
        passed = pass_over(
            model,
            network,
            opened.cases,
            names,
            requests,
            stream=stream,
            classes=self.target.classes,
            folder=folder,
            report=report,
        )
        estimates = estimate(self.metrics, passed.cases, self.resamples.counts, most_point_draws=self.most_point_draws)
        step = step_seconds(network, channels=model.channels, window=opened.window, device=stream.device)
        if SoftmaxRequest() in requests:
            drop_softmax(folder, names)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        facts = _facts(opened, passed) | {"parameters": parameters, "step_seconds": step}
        return Outcome(name, estimates, facts=facts, notes=(*model.notes, *self._notes(opened)))

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
        code = ("benchmark.opening", "benchmark.sources.pairing", *targets(self.settings["task"]))
        return job_key("rank", "benchmark.ranking.passes", inputs, code=code)

    def _outcome_key(self, passed: str) -> str:
        metrics = self.settings["metric"]
        counts = hashlib.sha256(self.resamples.counts.tobytes()).hexdigest()
        inputs = {"pass": passed, "metric": metrics, "counts": counts, "point_draws": self.most_point_draws}
        return job_key("rank", "benchmark.ranking.estimates", inputs, code=targets(metrics))


@dataclass(frozen=True)
class _Opened:
    """A source that the target can be shown to."""

    pair: Pair
    cases: Sequence[Case]
    window: tuple[int, ...]


def _facts(opened: _Opened, passed: Pass) -> dict[str, Any]:
    model = opened.pair.model
    return {
        "architecture": model.arch.name,
        "dims": model.arch.dims,
        "channels": model.channels,
        "source_classes": model.classes,
        "taps": list(passed.cases[0].taps),
        "window": list(opened.window),
        "cases": len(passed.cases),
        "seconds": passed.seconds,
        "peak_memory_mb": passed.peak_memory_mb,
        "backend": passed.cases[0].backend,
        **{key: value for key, value in model.facts.items() if isinstance(value, str | int | float)},
    }
