"""What `benchmark.score` does for one source and one target, without reading files and keeping records."""

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
    """A network, the metrics, and how cases go through.

    Attributes:
        arch: the network.
        metrics: name -> estimate, none with a pass of its own.
        classes: k of the target, and z of the source.
        window: voxels of a window along each axis.
        overlap: share of a window that its neighbour covers.
        batch: windows a forward pass.
    """

    arch: Architecture
    metrics: Mapping[str, Metric]
    classes: int
    window: Sequence[int]
    overlap: float
    batch: int

    def build(self, device: str) -> nn.Module:
        """The network with random weights, ready to be evaluated."""
        return self.arch.build(channels=1, classes=self.classes, seed=0, device=device).eval()

    def score(self, network: nn.Module, cases: Iterable[Case], device: str) -> dict[str, Score]:
        """One pass over the cases, then every metric.

        Args:
            network: from `build`.
            cases: with distinct names.
            device: where the network lies.

        Returns:
            Name -> score.
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
        """The bare forward passes over the windows that `score` takes; nothing is kept but the last logits.

        Args:
            network: from `build`.
            cases: as for `score`.
            device: where the network lies.

        Returns:
            (b, z, *window) of the last pass; None without cases.
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
    """Score two cases of one window, so that what the first pass imports and sets up is not measured.

    Args:
        scoring: network and metrics.
        network: from `scoring.build`.
        device: where the network lies.
    """
    scoring.score(network, phantom_cases(2, size=min(scoring.window), classes=scoring.classes), device)
