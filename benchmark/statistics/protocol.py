"""What a statistic, a request for one, and the window that feeds them have to offer each other.

A request is a frozen dataclass: it says what to accumulate, equal requests are accumulated once, and it is the key
under which a metric finds the result.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self, runtime_checkable

from torch import Tensor

from benchmark.core.backend import Backend


class OwnedWindow(Protocol):
    """The voxels of one case that one window owns; each voxel of a case is owned by exactly one window.

    Attributes:
        case: the case's name.
        start: first voxel of the owned box in the case's volume, in the array's axis order.
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
        """(n, d) float32 features of a layer at every owned voxel, in raster order."""
        ...

    def at(self, layer: int, points: Tensor) -> Tensor:
        """(n, d) float32 features of a layer at points (n, 3), integer volume coordinates inside the owned box."""
        ...


@dataclass(frozen=True)
class PassContext:
    """What is known before the first window.

    Attributes:
        k: target classes, background included.
        z: source classes.
        taps: names of the tapped layers, coarse to fine; -1 is the input of the finest segmentation head.
        folder: where a statistic may keep what does not fit in memory.
        backend: "auto", "torch" or "triton", for operations with a kernel.
    """

    k: int
    z: int
    taps: tuple[str, ...]
    folder: Path
    backend: Backend = "auto"


class Statistic(Protocol):
    """What a stream is reduced to: a monoid, so that cases, windows and processes split freely."""

    def begin(self, case: str, labels: Tensor, *, seen: Tensor | None = None) -> None:
        """Called once before the windows of a case.

        `labels` (D, H, W) are those of the whole volume, `seen` (D, H, W) bool is where windows will come; None:
        everywhere.
        """
        ...

    def update(self, window: OwnedWindow) -> None:
        """Take in the voxels that a window owns."""
        ...

    def end(self, case: str) -> None:
        """Called once after the windows of a case."""
        ...

    def merge(self, other: Self) -> Self:
        """The statistic of both streams: equal to one pass over all of their cases."""
        ...

    def save(self, folder: Path) -> None:
        """Write to a folder that exists and is empty."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Request(Protocol):
    """Asks for one statistic; a frozen dataclass of plain values (int, float, str, tuples of them)."""

    kind: ClassVar[type]

    def start(self, scene: PassContext) -> Statistic:
        """An empty statistic."""
        ...
