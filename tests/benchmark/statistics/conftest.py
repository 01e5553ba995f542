"""Windows over a small volume, whose features are known at every voxel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from benchmark.core.labels import counted


@dataclass(frozen=True)
class Volume:
    """A case whose features and logits are given at every voxel."""

    name: str
    labels: Tensor  # (D, H, W)
    features: Tensor  # (d, D, H, W)
    all_logits: Tensor  # (z, D, H, W)

    @property
    def rows(self) -> Tensor:
        return self.features.flatten(1).T

    def windows(self, edges: tuple[int, ...] = (3, 4)) -> list["Box"]:
        """Boxes that fill the volume, cut along the first axis."""
        bounds = [0, *edges, self.labels.shape[0]]
        return [Box(self, a, b) for a, b in pairwise(bounds)]

    def feed(self, statistic, order: int = 1, edges: tuple[int, ...] = (3, 4)) -> None:
        statistic.begin(self.name, self.labels)
        for window in self.windows(edges)[::order]:
            statistic.update(window)
        statistic.end(self.name)


@dataclass(frozen=True)
class Box:
    """The window that owns the slices from `first` up to `last` of a volume."""

    volume: Volume
    first: int
    last: int

    @property
    def case(self) -> str:
        return self.volume.name

    @property
    def start(self) -> tuple[int, ...]:
        return (self.first, 0, 0)

    @property
    def labels(self) -> Tensor:
        return self.volume.labels[self.first : self.last]

    @property
    def logits(self) -> Tensor:
        return self.volume.all_logits[:, self.first : self.last]

    def predictions(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield counted(self.logits.softmax(dim=0).flatten(1).T, self.labels.reshape(-1))

    def logits_at(self, points: Tensor) -> Tensor:
        return self.volume.all_logits[(slice(None), *points.T)].T

    def dense(self, layer: int) -> Tensor:
        return (layer * -1.0) * self.volume.features[:, self.first : self.last].flatten(1).T

    def at(self, layer: int, points: Tensor) -> Tensor:
        assert ((points[:, 0] >= self.first) & (points[:, 0] < self.last)).all()
        return (layer * -1.0) * self.volume.features[(slice(None), *points.T)].T

    def at_stage(self, name: str, points: Tensor) -> Tensor:
        return self.at({"fine": -1, "coarse": -2, "up": -3}[name], points)


@pytest.fixture
def make_volume() -> Callable[..., Volume]:
    """Builds a volume: `make_volume("a", seed=0, k=3)`; features of layer -2 are twice those of layer -1."""

    def make(name: str, *, seed: int = 0, k: int = 3, d: int = 4, z: int = 2, shape=(7, 5, 6)) -> Volume:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.randint(0, k, shape, generator=generator).to(torch.uint8)
        features = torch.randn(d, *shape, generator=generator)
        return Volume(name, labels, features, torch.randn(z, *shape, generator=generator))

    return make
