"""Statistics, requests for them, and the windows that update them.

A request is a frozen dataclass that says what to accumulate. Equal requests are accumulated once, and a metric looks up
the result by its request.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeAlias, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor

from benchmark.core.backend import Backend

Array: TypeAlias = NDArray[Any] | Tensor


class VoxelArray(Protocol):
    """One value for each voxel of a volume, read box by box: from disk, computed when indexed, or simply a tensor.

    Attributes:
        shape: (D, H, W) voxels.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102

    def __getitem__(self, box: tuple[slice, ...]) -> Tensor:
        """The values of a box."""


class OwnedWindow(Protocol):
    """The voxels of a case that a window owns; each voxel of a case is owned by exactly one window.

    Attributes:
        case: the case's name.
        start: first voxel of the owned box in the volume, in the array's axis order.
        labels: (D, H, W) of the owned box, integers.
    """

    case: str
    start: tuple[int, ...]
    labels: Tensor

    def predictions(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Softmax (n, z) float32 and labels (n,) of the owned voxels except ignored ones, block by block."""
        ...

    def logits_at(self, points: Tensor) -> Tensor:
        """Logits (n, z) float32 at points (n, 3), integer volume coordinates inside the owned box."""

    def dense(self, layer: int) -> Tensor:
        """Features of a layer at every owned voxel in raster order, (n, d) float32."""

    def at(self, layer: int, points: Tensor) -> Tensor:
        """Features (n, d) float32 of a layer at points (n, 3), integer volume coordinates inside the owned box."""

    def at_stage(self, name: str, points: Tensor) -> Tensor:
        """As `at`, of a stage of the network by the name of its module."""


@dataclass(frozen=True)
class PassContext:
    """Settings of a pass that are known before the first window.

    Attributes:
        k: target classes, background included.
        z: source classes.
        taps: names of the tapped layers, coarse to fine; -1 is the input of the finest segmentation head.
        folder: folder for data that do not fit in memory.
        backend: "auto", "torch" or "triton", for operations with a kernel.
        encoder: channels of the encoder's stages by the name of the module, fine to coarse; empty if no request needs
            the stages, or if they are unknown.
        decoder: the same of the decoder's stages, coarse to fine.
        absent: why stages are unknown.
    """

    k: int
    z: int
    taps: tuple[str, ...]
    folder: Path
    backend: Backend = "auto"
    encoder: Mapping[str, int] = field(default_factory=dict)
    decoder: Mapping[str, int] = field(default_factory=dict)
    absent: str = ""


class Statistic(ABC):
    """A mergeable statistic (a monoid), so that cases can be split freely over windows and processes.

    Attributes:
        settings: names of the attributes that statistics must share to be merged.
        cases: names of the cases; empty for a statistic that does not keep cases apart.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    cases: tuple[str, ...] = ()
    _open: Any = None  # what the current case needs until its end

    def begin(self, case: str, labels: VoxelArray, *, seen: VoxelArray | None = None) -> None:
        """Called once before the windows of a case.

        Args:
            case: the case's name.
            labels: (D, H, W) integers of the volume.
            seen: (D, H, W) bool, the voxels that windows will cover; None for all.

        Raises:
            ValueError: if the case was added before.
        """
        if case in self.cases:
            raise ValueError(f"`case` must be new, got {case!r} twice")

    @abstractmethod
    def update(self, window: OwnedWindow) -> None:
        """Add the voxels that a window of the current case owns."""

    def end(self, case: str) -> None:
        """Called once after the windows of a case."""
        self._open = None

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """Merge two statistics into a new one, equal to one pass over the cases of both.

        Raises:
            ValueError: if the settings differ, or a case is in both.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write to an existing, empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""

    def _values(self) -> dict[str, Any]:
        """The settings by name; a constructor takes them as arguments."""
        return {name: getattr(self, name) for name in self.settings}

    def _opened(self) -> Any:
        if self._open is None:
            raise RuntimeError(f"{type(self).__name__}: `begin` must be called before `update` and `end`")
        return self._open


@runtime_checkable
class Request(Protocol):
    """A request for one statistic: a frozen dataclass of plain values (int, float, str, tuples of them)."""

    kind: ClassVar[type[Statistic]]

    def start(self, context: PassContext) -> Statistic:
        """An empty statistic for a pass."""


def check_mergeable(ours: Any, theirs: Any, settings: Sequence[str]) -> None:
    """Check that two statistics, or collections of them, have the same settings and no case in common.

    Raises:
        ValueError: if not.
    """
    for name in settings:
        if getattr(ours, name) != getattr(theirs, name):
            raise ValueError(f"`other` must have {name} {getattr(ours, name)}, got {getattr(theirs, name)}")
    if both := sorted(set(ours.cases) & set(theirs.cases)):
        raise ValueError(f"`other` must not share cases, got {both} in both")
