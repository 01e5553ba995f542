"""Statistics: the results of one pass of a target through one source, by request."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from benchmark.statistics.case_points import CasePointsRequest, ScenePointsRequest
from benchmark.statistics.expected_prediction import ExpectedPredictionRequest
from benchmark.statistics.joint import JointRequest
from benchmark.statistics.moments import ClassMomentsRequest
from benchmark.statistics.points import BalancedPointsRequest
from benchmark.statistics.protocol import PassContext, Request, Statistic, check_mergeable
from benchmark.statistics.softmax import SoftmaxRequest
from benchmark.statistics.stage_points import StagePointsRequest
from benchmark.storage.digest import value_digest
from benchmark.storage.files import partial_folder, read_json, write_json

MANIFEST = "statistics.json"
REQUESTS: tuple[type, ...] = (  # types that are read from a saved collection without being named
    BalancedPointsRequest,
    CasePointsRequest,
    ClassMomentsRequest,
    ExpectedPredictionRequest,
    JointRequest,
    ScenePointsRequest,
    SoftmaxRequest,
    StagePointsRequest,
)


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
        return type(self)(self.count + other.count, self.total + other.total)


@dataclass(frozen=True, eq=False)
class Statistics(Mapping[Request, Statistic]):
    """Read-only mapping from each request to its statistic, with the settings that they share.

    Attributes:
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
        >>> stats[ClassMomentsRequest(layer=-1)].k
        2
        >>> stats[ClassMomentsRequest(layer=-2)]
        Traceback (most recent call last):
        KeyError: 'ClassMomentsRequest(layer=-2) was not accumulated; available: ClassMomentsRequest(layer=-1)'
    """

    entries: Mapping[Request, Statistic]
    _: KW_ONLY
    k: int
    z: int
    taps: tuple[str, ...]
    cases: tuple[str, ...]
    backend: str = "torch"
    windows: Forwarded = Forwarded()

    def __getitem__(self, request: Request) -> Any:
        if request not in self.entries:
            known = ", ".join(map(repr, self.entries)) or "none"
            raise KeyError(f"{request!r} was not accumulated; available: {known}")
        return self.entries[request]

    def __iter__(self) -> Iterator[Request]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def extended(self, entries: Mapping[Request, Statistic]) -> Self:
        """Add statistics of the same cases, as a second look at them gives."""
        return replace(self, entries={**self.entries, **entries})

    def merge(self, other: Self) -> Self:
        """Merge statistics of other cases of the same target and source.

        Raises:
            ValueError: if the requests, k, z or taps differ, or a case is in both.
        """
        check_mergeable(self, other, ("k", "z", "taps"))
        if set(self) != set(other):
            raise ValueError(f"`other` must have the same requests, got {sorted(map(repr, other))}")
        return replace(
            self,
            entries={request: statistic.merge(other[request]) for request, statistic in self.entries.items()},
            cases=self.cases + other.cases,
            backend="+".join(sorted({self.backend, other.backend})),
            windows=self.windows + other.windows,
        )

    def save(self, folder: Path, *, skip: Iterable[Request] = ()) -> None:
        """Write all statistics to a folder atomically, replacing an existing folder.

        Args:
            folder: target folder.
            skip: requests whose statistics are not saved.
        """
        stored = {request: statistic for request, statistic in self.entries.items() if request not in set(skip)}
        with partial_folder(folder) as partial:
            for request, statistic in stored.items():
                (partial / stem(request)).mkdir()
                statistic.save(partial / stem(request))
            requests = [{"kind": type(request).__name__, "values": vars(request)} for request in stored]
            common = {name: getattr(self, name) for name in ("k", "z", "taps", "cases", "backend")}
            write_json(partial / MANIFEST, common | {"windows": asdict(self.windows), "requests": requests})

    @classmethod
    def load(cls, folder: Path, requests: Iterable[Request] | None = None) -> Self:
        """Read what `save` wrote.

        Args:
            folder: folder with the manifest.
            requests: statistics to read; None for all whose type this package defines.

        Raises:
            InputError: if the folder has no manifest.
            KeyError: if a request was not saved there.
        """
        manifest = read_json(folder / MANIFEST)
        saved = manifest.pop("requests")
        entries: dict[Request, Statistic] = {}
        for request in _known_requests(saved) if requests is None else requests:
            if not (folder / stem(request)).is_dir():
                raise KeyError(f"{request!r} is not among the statistics saved in {folder}")
            entries[request] = request.kind.load(folder / stem(request))
        windows, taps, cases = (manifest.pop(name) for name in ("windows", "taps", "cases"))
        return cls(entries, taps=tuple(taps), cases=tuple(cases), windows=Forwarded(**windows), **manifest)


def start(requests: Iterable[Request], context: PassContext) -> dict[Request, Statistic]:
    """Create an empty statistic for each distinct request, each with its own folder.

    Returns:
        Statistics by request, in order of first appearance.

    Raises:
        TypeError: if an item is not a request.
    """
    started: dict[Request, Statistic] = {}
    for request in dict.fromkeys(requests):
        if not isinstance(request, Request):
            raise TypeError(f"`requests` must be requests for statistics, got {request!r}")
        started[request] = request.start(replace(context, folder=context.folder / stem(request)))
    return started


def stem(request: Request) -> str:
    """Unique folder name of a request: its type and a hash of its values."""
    return f"{type(request).__name__}-{value_digest(vars(request))[:12]}"


def _known_requests(saved: Iterable[Mapping[str, Any]]) -> list[Request]:
    kinds = {kind.__name__: kind for kind in REQUESTS}
    return [
        kinds[entry["kind"]](**{name: tuple(v) if isinstance(v, list) else v for name, v in entry["values"].items()})
        for entry in saved
        if entry["kind"] in kinds
    ]
