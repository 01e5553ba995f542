"""Statistics: the results of one pass of a target through one source, by request."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmark.statistics.case_requests import CasePointsRequest, ScenePointsRequest
from benchmark.statistics.joint import JointRequest
from benchmark.statistics.moments import ClassMomentsRequest
from benchmark.statistics.points import BalancedPointsRequest
from benchmark.statistics.protocol import PassContext, Request, Statistic
from benchmark.statistics.softmax import SoftmaxRequest
from benchmark.storage.digest import value_digest
from benchmark.storage.files import read_json, write_json

MANIFEST = "statistics.json"
REQUESTS = (  # types allowed in a saved collection
    BalancedPointsRequest,
    CasePointsRequest,
    ClassMomentsRequest,
    JointRequest,
    ScenePointsRequest,
    SoftmaxRequest,
)
ChosenRequest = TypeVar("ChosenRequest", bound=Request)


@dataclass(frozen=True)
class Forwarded:
    """Number of windows that went through the network.

    Attributes:
        count: windows that were forwarded.
        total: all windows of the cases.
    """

    count: int = 0
    total: int = 0

    def __add__(self, other: Self) -> Self:
        """Add the windows of two passes."""
        return type(self)(self.count + other.count, self.total + other.total)


class Statistics(Mapping[Request, Statistic]):
    """Read-only mapping from each request to its statistic, with the settings that they share.

    Args:
        entries: statistic for each request.
        k: target classes, background included.
        z: source classes.
        taps: names of the tapped layers, coarse to fine.
        cases: names of the cases streamed.
        backend: "torch" or "triton", for the operations that have a kernel.
        windows: number of windows forwarded.

    Example:
        >>> from benchmark.statistics.moments import ClassMoments, ClassMomentsRequest
        >>> stats = Statistics({ClassMomentsRequest(): ClassMoments(2)}, k=2, z=3, taps=("up",), cases=("a",))
        >>> stats[ClassMomentsRequest(layer=-1)].k, stats.n_cases
        (2, 1)
        >>> stats[ClassMomentsRequest(layer=-2)]
        Traceback (most recent call last):
        KeyError: 'ClassMomentsRequest(layer=-2) was not accumulated; available: ClassMomentsRequest(layer=-1)'
    """

    def __init__(
        self,
        entries: Mapping[Request, Statistic],
        *,
        k: int,
        z: int,
        taps: tuple[str, ...],
        cases: tuple[str, ...],
        backend: str = "torch",
        windows: Forwarded = Forwarded(),
    ) -> None:
        self._entries = dict(entries)
        self.k = k
        self.z = z
        self.taps = taps
        self.cases = cases
        self.backend = backend
        self.windows = windows

    @property
    def n_cases(self) -> int:
        """Number of cases streamed."""
        return len(self.cases)

    def __getitem__(self, request: Request) -> Any:
        if request not in self._entries:
            known = ", ".join(map(repr, self._entries)) or "none"
            raise KeyError(f"{request!r} was not accumulated; available: {known}")
        return self._entries[request]

    def __iter__(self) -> Iterator[Request]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def merge(self, other: Self) -> Self:
        """Merge statistics of other cases of the same target and source.

        Args:
            other: statistics with the same requests, k, z and taps, and no case in common.

        Returns:
            New statistics.

        Raises:
            ValueError: if they cannot be merged.
        """
        for name in ("k", "z", "taps"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(f"`other` must have {name} {getattr(self, name)}, got {getattr(other, name)}")
        if set(self) != set(other):
            raise ValueError(f"`other` must have the same requests, got {sorted(map(repr, other))}")
        if both := sorted(set(self.cases) & set(other.cases)):
            raise ValueError(f"`other` must not share cases, got {both} in both")
        entries = {request: statistic.merge(other[request]) for request, statistic in self._entries.items()}
        backends = sorted({self.backend, other.backend})
        return type(self)(
            entries,
            k=self.k,
            z=self.z,
            taps=self.taps,
            cases=self.cases + other.cases,
            backend="+".join(backends),
            windows=self.windows + other.windows,
        )

    def save(self, folder: Path, *, skip: Iterable[Request] = ()) -> None:
        """Write all statistics to a folder atomically, replacing an existing folder.

        Args:
            folder: target folder; its parent exists.
            skip: requests whose statistics are not saved.
        """
        kept = [request for request in self._entries if request not in set(skip)]
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            for request in kept:
                (temporary / stem(request)).mkdir(parents=True)
                self._entries[request].save(temporary / stem(request))
            temporary.mkdir(exist_ok=True)
            requests = [{"kind": type(request).__name__, "values": _values(request)} for request in kept]
            common = {name: getattr(self, name) for name in ("k", "z", "taps", "cases", "backend")}
            write_json(temporary / MANIFEST, common | {"windows": asdict(self.windows), "requests": requests})
            _replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def load(cls, folder: Path, requests: Iterable[Request] | None = None) -> Self:
        """Read what `save` wrote.

        Args:
            folder: folder with the manifest.
            requests: statistics to read; None for all whose type this package defines.

        Returns:
            The statistics.

        Raises:
            FileNotFoundError: if the folder has no manifest.
            KeyError: if a request was not saved there.
        """
        manifest = read_json(folder / MANIFEST)
        saved = {_tag(entry["kind"], entry["values"]): entry for entry in manifest["requests"]}
        wanted = list(requests) if requests is not None else _known_requests(manifest["requests"])
        entries: dict[Request, Statistic] = {}
        for request in wanted:
            if stem(request) not in saved:
                raise KeyError(f"{request!r} is not among the statistics saved in {folder}")
            entries[request] = request.kind.load(folder / stem(request))  # type: ignore[attr-defined]
        return cls(
            entries,
            k=manifest["k"],
            z=manifest["z"],
            taps=tuple(manifest["taps"]),
            cases=tuple(manifest["cases"]),
            backend=manifest["backend"],
            windows=Forwarded(**manifest["windows"]),
        )


def start(requests: Iterable[Request], scene: PassContext) -> dict[Request, Statistic]:
    """Create an empty statistic for each distinct request, each with its own folder.

    Args:
        requests: requests; duplicates count once.
        scene: context of the pass.

    Returns:
        Statistics by request, in order of first appearance.

    Raises:
        TypeError: if an item is not a request.
    """
    started: dict[Request, Statistic] = {}
    for request in dict.fromkeys(requests):
        if not isinstance(request, Request):
            raise TypeError(f"`requests` must be requests for statistics, got {request!r}")
        own = PassContext(scene.k, scene.z, scene.taps, scene.folder / stem(request), scene.backend)
        started[request] = request.start(own)
    return started


def stem(request: Request) -> str:
    """Unique folder name of a request.

    Args:
        request: any request.

    Returns:
        The request's type and a hash of its values.
    """
    return _tag(type(request).__name__, _values(request))


def _values(request: Request) -> dict[str, Any]:
    values: dict[str, Any] = asdict(request)  # type: ignore[call-overload]
    return values


def _tag(kind: str, values: Mapping[str, Any]) -> str:
    digest = value_digest(values)
    return f"{kind}-{digest[:12]}"


def _known_requests(entries: Iterable[Mapping[str, Any]]) -> list[Request]:
    known: dict[str, Any] = {kind.__name__: kind for kind in REQUESTS}
    saved = (entry for entry in entries if entry["kind"] in known)
    return [known[entry["kind"]](**{name: _frozen(v) for name, v in entry["values"].items()}) for entry in saved]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _replace(new: Path, folder: Path) -> None:
    """Replace a folder by a finished new one."""
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
