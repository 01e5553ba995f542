"""Scoring of one source and one target as in `benchmark.score`, without reading files or tracking."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn

from benchmark.data.files.cases import BoxReader, Case
from benchmark.features.stream import CaseLabels, reduce_stream, requested_stages, with_stages
from benchmark.features.window_selection import WindowPolicy, choose
from benchmark.features.windows import Grid, batches
from benchmark.metric.protocol import Metric, PoolMetric, second_looks
from benchmark.metric.score import Score
from benchmark.performance.measurement import Used, use
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.sources.networks.stages import stages_of
from benchmark.statistics import SOFTMAX, Request, Statistics, read_again

NOISE = 0.1  # standard deviation of a generated case; its classes are 1 / k apart


@dataclass(frozen=True)
class Scoring:
    """A network, metrics and window settings.

    Attributes:
        arch: architecture of the network.
        metrics: name -> metric, without extra passes.
        classes: k of the target.
        window: voxels of a window along each axis.
        overlap: share of a window that its neighbour covers.
        batch: windows per forward pass.
        source_classes: z of the source; None for `classes`.
        policy: which windows are forwarded.
    """

    arch: Architecture
    metrics: Mapping[str, Metric]
    classes: int
    window: Sequence[int]
    overlap: float
    batch: int
    source_classes: int | None = None
    policy: WindowPolicy = "all"

    def build(self, device: str) -> nn.Module:
        """Build the network with random weights, in eval mode."""
        return self.arch.build(channels=1, classes=self.z, seed=0, device=device).eval()

    @property
    def z(self) -> int:
        """Classes of the source."""
        return self.source_classes or self.classes

    @cached_property
    def stages(self) -> NetworkStages:
        """The stages of the network."""
        return stages_of(self.arch, channels=1, classes=self.z)

    @property
    def tapped(self) -> list[str]:
        """Names of the modules whose output a pass keeps."""
        return with_stages(self.arch.taps, requested_stages(self._requests, lambda: self.stages))

    @property
    def _requests(self) -> list[Request]:
        return list(dict.fromkeys(request for metric in self.metrics.values() for request in metric.requires))

    def score(self, network: nn.Module, cases: Iterable[BoxReader], device: str) -> dict[str, Score]:
        """Run one pass of a network from `build` over the cases and compute all metrics, by name."""
        with tempfile.TemporaryDirectory() as folder:
            statistics = self.statistics(network, cases, device, Path(folder))
            looks = list(dict.fromkeys(second_looks(self.metrics, statistics).values()))
            if SOFTMAX in statistics:
                statistics = statistics.extended(read_again(statistics[SOFTMAX].rows(), looks))
            elif looks:  # a second pass, for which `cases` must be a sequence
                again = self._pass(network, cases, looks, device, Path(folder))
                statistics = statistics.extended(again)
            return {name: metric.compute(statistics) for name, metric in self.metrics.items()}

    def statistics(self, network: nn.Module, cases: Iterable[BoxReader], device: str, folder: Path) -> Statistics:
        """Run one pass of a network from `build` over the cases; `folder` must outlive the statistics."""
        return self._pass(network, cases, self._requests, device, folder)

    def _pass(
        self, network: nn.Module, cases: Iterable[BoxReader], requests: Iterable[Request], device: str, folder: Path
    ) -> Statistics:
        return reduce_stream(
            network,
            self.arch.taps,
            cases,
            requests,
            patch_size=self.window,
            overlap=self.overlap,
            batch=self.batch,
            windows=self.policy,
            classes=self.classes,
            device=device,
            stages=lambda: self.stages,
            folder=folder,
        )

    def forward(self, network: nn.Module, cases: Iterable[BoxReader], device: str) -> None:
        """Run only the forward passes over the windows that `score` uses."""
        with torch.no_grad():
            for case in cases:
                grid = Grid(tuple(case.shape), tuple(self.window), self.overlap)
                places = choose(grid.places, CaseLabels(case, self.classes), self.policy)
                for _, views in batches(case, grid, places, self.batch):
                    network(views.to(device))


def use_of_scoring(scoring: Scoring, cases: int, size: int, device: str, sources: int = 1) -> Used:
    """Score generated cases with a number of sources in this process and measure the time and memory that it takes.

    Imports, building the network and a small first pass are not measured.

    Args:
        scoring: network and metrics.
        cases: number of cases.
        size: voxels of a case along each axis.
        device: device of the network.
        sources: number of networks that are scored and, for pool metrics, combined.
    """
    network = scoring.build(device)
    scoring.score(network, phantom_cases(2, size=min(scoring.window), classes=scoring.classes), device)

    def work() -> None:
        generated = partial(phantom_cases, cases, size=size, classes=scoring.classes)
        pool = {str(source): scoring.score(network, generated(), device) for source in range(sources)}
        for name, metric in scoring.metrics.items():
            if isinstance(metric, PoolMetric):
                metric.combine({source: scores[name] for source, scores in pool.items()})

    return use(work, device)


def phantom_cases(count: int, *, size: int, classes: int, seed: int = 0) -> Iterator[Case]:
    """Generate cases of one channel, a block of each class plus noise, one at a time to save memory.

    Args:
        count: number of cases.
        size: voxels along each axis, at least `classes`.
        classes: k, background included; every case contains every class.
        seed: seed of positions and noise.

    Raises:
        ValueError: if `size` is less than `classes`.

    Example:
        >>> [case.labels.unique().tolist() for case in phantom_cases(2, size=16, classes=3)]
        [[0, 1, 2], [0, 1, 2]]
    """
    if size < classes:
        raise ValueError(f"`size` must be at least `classes`, {classes}, got {size}")
    generator = torch.Generator().manual_seed(seed)
    thick, wide = size // classes, (size + 1) // 2
    for index in range(count):
        labels = torch.zeros(size, size, size, dtype=torch.uint8)
        for label in range(1, classes):
            y, z = torch.randint(size - wide + 1, (2,), generator=generator).tolist()
            labels[label * thick : (label + 1) * thick, y : y + wide, z : z + wide] = label
        noise = torch.randn(1, size, size, size, generator=generator)
        yield Case(f"phantom_{index:03d}", labels[None] / classes + NOISE * noise, labels, (1.0, 1.0, 1.0))
