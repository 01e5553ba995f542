"""Row on class statistics over all voxels: their time relative to indexing features by class with a boolean mask."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.phantoms import phantom_cases
from benchmark.performance.timing import time_both
from benchmark.statistics import ClassMoments

# relative to the largest entry: float64 sums of a million terms, added in different orders
TOLERANCE = 1e-10


@dataclass(frozen=True)
class ClassStatistics:
    """Moments of every class of one case, up to the fourth order.

    Attributes:
        d: feature dims.
        size: voxels of the case along each axis.
        classes: k.
        repeats: number of timed runs of each.
        bound: maximum ratio to the time of boolean indexing.
    """

    d: int
    size: int
    classes: int
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Time both, and compare means and scatters with those of the indexed rows."""
        labels = next(phantom_cases(1, size=self.size, classes=self.classes)).labels.reshape(-1).to(device)
        generator = torch.Generator().manual_seed(0)
        # a channels-first network output, viewed as one row per voxel, as the stream passes it to statistics
        features = torch.randn(self.d, len(labels), generator=generator).to(device).T
        timed = time_both(
            lambda: _moments(features, labels, self.classes),
            lambda: [features[labels == label] for label in range(self.classes)],
            repeats=self.repeats,
            device=device,
        )
        checks = {
            "mean": Check(
                _largest(timed.found.mean, [rows.double().mean(dim=0) for rows in timed.expected]), TOLERANCE
            ),
            "scatter": Check(_largest(timed.found.scatter, list(map(_scatter, timed.expected))), TOLERANCE),
        }
        return Measurement(timed.ours, timed.reference, "at most", self.bound, device, checks=checks)


def _moments(features: Tensor, labels: Tensor, k: int) -> ClassMoments:
    moments = ClassMoments(k)
    moments.add(features, labels)
    return moments


def _scatter(rows: Tensor) -> Tensor:
    centred = rows.double() - rows.double().mean(dim=0)
    return centred.T @ centred


def _largest(computed: Tensor, expected: list[Tensor]) -> float:
    """Largest difference, relative to the largest entry."""
    whole = torch.stack(expected).cpu()
    return float((computed - whole).abs().max() / whole.abs().max())
