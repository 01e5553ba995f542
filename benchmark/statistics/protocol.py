"""Protocols of statistics, of requests for them, and of the windows that update them.

A request is a frozen dataclass that says what to accumulate. Equal requests are accumulated once, and a metric looks up
the result by its request.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from torch import Tensor

from benchmark.core.backend import Backend


class OwnedWindow(Protocol):
    """The voxels of a case that a window owns; each voxel of a case is owned by exactly one window.

    Attributes:
        case: the case's name.
        start: first voxel of the owned box in the volume, in the array's axis order.
        labels: (D, H, W) of the owned box, integers.
        logits: (z, D, H, W) float32 of the owned box.
        softmax: (z, D, H, W) float32 of the owned box.
    """

    @property
    def case(self) -> str: ...  # noqa: D102
    @property
    def start(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def labels(self) -> Tensor: ...  # noqa: D102
    @property
    def logits(self) -> Tensor: ...  # noqa: D102
    @property
    def softmax(self) -> Tensor: ...  # noqa: D102

    def dense(self, layer: int) -> Tensor:
        """Features of a layer at every owned voxel in raster order, (n, d) float32."""
        ...

    def at(self, layer: int, points: Tensor) -> Tensor:
        """Features (n, d) float32 of a layer at points (n, 3), integer volume coordinates inside the owned box."""
        ...


@dataclass(frozen=True)
class PassContext:
    """Settings of a pass that are known before the first window.

    Attributes:
        k: target classes, background included.
        z: source classes.
        taps: names of the tapped layers, coarse to fine; -1 is the input of the finest segmentation head.
        folder: folder for data that do not fit in memory.
        backend: "auto", "torch" or "triton", for operations with a kernel.
    """

    k: int
    z: int
    taps: tuple[str, ...]
    folder: Path
    backend: Backend = "auto"


class Statistic(Protocol):
    """A mergeable statistic (a monoid), so that cases can be split freely over windows and processes."""

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Called once before the windows of a case.

        `labels` (D, H, W) covers the whole volume; `seen` (D, H, W) bool marks the voxels that windows will cover, None
        for all.
        """
        ...

    def update(self, window: OwnedWindow) -> None:
        """Add the voxels that a window owns."""
        ...

    def end(self, case: str) -> None:
        """Called once after the windows of a case."""
        ...

    def merge(self, other: Self) -> Self:
        """Merge two statistics; equal to one pass over the cases of both."""
        ...

    def save(self, folder: Path) -> None:
        """Write to an existing, empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Request(Protocol):
    """A request for one statistic: a frozen dataclass of plain values (int, float, str, tuples of them)."""

    kind: ClassVar[type]

    def start(self, scene: PassContext) -> Statistic:
        """An empty statistic."""
        ...
