"""Scoring of one source and one target as in `benchmark.score`, without reading files or tracking."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.data.files.case import Case
from benchmark.features.stream import reduce_stream
from benchmark.features.windows import Grid, crop, pad
from benchmark.metric.protocol import Metric
from benchmark.metric.score import Score
from benchmark.performance.phantoms import phantom_cases
from benchmark.sources.networks.architecture import Architecture


@dataclass(frozen=True)
class Scoring:
    """A network, metrics and window settings.

    Attributes:
        arch: architecture of the network.
        metrics: name -> metric, without extra passes.
        classes: k of the target, and z of the source.
        window: voxels of a window along each axis.
        overlap: share of a window that its neighbour covers.
        batch: windows per forward pass.
    """

    arch: Architecture
    metrics: Mapping[str, Metric]
    classes: int
    window: Sequence[int]
    overlap: float
    batch: int

    def build(self, device: str) -> nn.Module:
        """Build the network with random weights, in eval mode."""
        return self.arch.build(channels=1, classes=self.classes, seed=0, device=device).eval()

    def score(self, network: nn.Module, cases: Iterable[Case], device: str) -> dict[str, Score]:
        """Run one pass over the cases and compute all metrics.

        Args:
            network: result of `build`.
            cases: cases with distinct names.
            device: device of the network.

        Returns:
            Scores by name of the metric.
        """
        requests = dict.fromkeys(request for metric in self.metrics.values() for request in metric.requires)
        with tempfile.TemporaryDirectory() as folder:
            statistics = reduce_stream(
                network,
                self.arch.taps,
                cases,
                requests,
                patch_size=self.window,
                overlap=self.overlap,
                batch=self.batch,
                classes=self.classes,
                device=device,
                folder=Path(folder),
            )
            return {name: metric.compute(statistics) for name, metric in self.metrics.items()}

    def forward(self, network: nn.Module, cases: Iterable[Case], device: str) -> Tensor | None:
        """Run only the forward passes over the windows that `score` uses.

        Args:
            network: result of `build`.
            cases: cases as in `score`.
            device: device of the network.

        Returns:
            Logits (b, z, *window) of the last pass; None without cases.
        """
        logits: Tensor | None = None
        with torch.no_grad():
            for case in cases:
                grid = Grid(tuple(case.labels.shape), tuple(self.window), self.overlap)
                image, places = pad(case.image, grid), grid.places
                for first in range(0, len(places), self.batch):
                    chosen = places[first : first + self.batch]
                    views = torch.stack([crop(image, place, self.window) for place in chosen])
                    logits = network(views.to(device))
        return logits


def warm_up(scoring: Scoring, network: nn.Module, device: str) -> None:
    """Score two small cases first, so that imports and set-up are not measured.

    Args:
        scoring: network and metrics.
        network: result of `scoring.build`.
        device: device of the network.
    """
    scoring.score(network, phantom_cases(2, size=min(scoring.window), classes=scoring.classes), device)
