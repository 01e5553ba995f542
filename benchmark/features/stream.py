"""One pass of cases through a network, accumulated window by window into the requested statistics."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.core.backend import Backend, resolve_backend
from benchmark.core.labels import IGNORED
from benchmark.core.torch_settings import full_precision
from benchmark.data.files.cases import Box, BoxReader, Case
from benchmark.features.taps import Taps
from benchmark.features.window_selection import Covered, WindowPolicy, choose
from benchmark.features.windows import Grid, Place, Window, batches
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.statistics import PassContext, Request, StageSample, Statistic, Statistics, answerable
from benchmark.statistics.collection import Forwarded, start
from benchmark.statistics.protocol import VoxelArray


def reduce_stream(
    network: nn.Module,
    taps: Sequence[str],
    cases: Iterable[BoxReader],
    requests: Iterable[Request],
    *,
    patch_size: Sequence[int],
    overlap: float = 0.25,
    batch: int = 1,
    windows: WindowPolicy = "all",
    classes: int,
    device: torch.device | str = "cpu",
    backend: Backend = "auto",
    amp: torch.dtype | None = None,
    head: bool = True,
    stages: Callable[[], NetworkStages] | None = None,
    folder: Path,
) -> Statistics:
    """Stream cases through a network once and accumulate the requested statistics.

    Args:
        network: (b, c, D, H, W) -> logits (b, z, D, H, W); run in eval mode, and then restored.
        taps: names of modules whose output is the input of a segmentation head, coarse to fine.
        cases: cases with unique names, one at a time, which are read window by window.
        requests: statistics to accumulate; duplicates count once.
        patch_size: voxels of a window along each axis; smaller cases are padded with zeros, which are not counted.
        overlap: minimum share of a window that its neighbour covers, in [0, 1).
        batch: windows per forward pass.
        windows: which windows are forwarded; see `benchmark.features.window_selection`.
        classes: k, target classes, background included.
        device: device that the network runs on.
        backend: "auto", "torch" or "triton", for operations that have a kernel.
        amp: dtype of the forward pass under autocast; None for full precision, without TF32. Statistics stay float64.
        head: whether there is a trained segmentation head; if not, z is 0, see `benchmark.statistics.answerable`.
        stages: returns the network's stages, see `benchmark.sources.networks.stages`; called if a request needs them.
        folder: folder for data that do not fit in memory; must outlive the statistics.

    Raises:
        ValueError: if an argument is invalid or missing, there are no cases, or a name appears twice.

    Example:
        >>> import tempfile
        >>> from benchmark.statistics import ClassMomentsRequest
        >>> network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 2, 1))
        >>> case = Case("a", torch.zeros(1, 6, 6, 6), torch.zeros(6, 6, 6, dtype=torch.uint8), (1.0, 1.0, 1.0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     statistics = reduce_stream(network, ["0"], [case], [ClassMomentsRequest()], patch_size=(4, 4, 4),
        ...                                classes=2, folder=Path(folder))
        >>> statistics[ClassMomentsRequest()].count.tolist()
        [216, 0]
    """
    if batch < 1:
        raise ValueError(f"`batch` must be positive, got {batch}")
    known = requested_stages(requests := list(requests), stages)
    tapped = with_stages(taps, known)
    with full_precision(device), _evaluating(network.to(device)), Taps(network, tapped) as captured, torch.no_grad():
        context = PassContext(classes, 0, tuple(taps), folder, resolve_backend(backend, device), **vars(known))
        read = partial(_maps, captured, len(taps), known.names)
        forward = partial(_windows, network, read, batch=batch, device=device, amp=amp, head=head)
        return _reduce(cases, requests, context, patch=patch_size, overlap=overlap, policy=windows, forward=forward)


def requested_stages(requests: Iterable[Request], stages: Callable[[], NetworkStages] | None) -> NetworkStages:
    """The network's stages if a request needs them, otherwise none.

    Raises:
        ValueError: if a request needs them and `stages` is None.
    """
    users = [request for request in requests if request.kind is StageSample]
    if users and stages is None:
        raise ValueError(f"`stages` must be given for {users[0]!r}, got None")
    return stages() if users and stages is not None else NetworkStages()


def with_stages(taps: Sequence[str], stages: NetworkStages) -> list[str]:
    """The taps, and then the stages that are no taps."""
    return [*taps, *(name for name in stages.names if name not in taps)]


def _maps(captured: Taps, taps: int, stages: Sequence[str]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The maps (b, d, *map) of the taps, which come first, coarse to fine, and those of the stages by name."""
    maps = dict(zip(captured.names, captured.take(), strict=True))
    return list(maps.values())[:taps], {name: maps[name] for name in stages}


def _reduce(
    cases: Iterable[BoxReader],
    requests: list[Request],
    context: PassContext,
    *,
    patch: Sequence[int],
    overlap: float,
    policy: WindowPolicy,
    forward: Callable[..., Iterator[Window]],
) -> Statistics:
    """Accumulate statistics, which are created at the first window, when the number of source classes is known."""
    names: list[str] = []
    statistics: dict[Request, Statistic] = {}
    passed = Forwarded()
    for case in cases:
        labels = CaseLabels(case, context.k)
        _check_case(case, names, len(patch))
        grid = Grid(labels.shape, tuple(patch), overlap)
        every = grid.places
        places = choose(every, labels, policy)
        seen = Covered(places, labels.shape) if len(places) < len(every) else None
        passed += Forwarded(len(places), len(every))
        begun = False  # no `enumerate`, which would keep a window during the next forward pass
        for window in forward(case, grid, places, labels=labels, backend=context.backend):
            if not names and not begun:
                context = replace(context, z=window.z)
                statistics = start(answerable(requests, context.z), context)
            for statistic in statistics.values():
                if not begun:
                    statistic.begin(case.name, labels, seen=seen)
                statistic.update(window)
            begun = True
            del window  # freed before the next forward pass
        for statistic in statistics.values():
            statistic.end(case.name)
        names.append(case.name)
    if not names:
        raise ValueError("`cases` must contain at least one case, got 0")
    return Statistics(
        statistics,
        k=context.k,
        z=context.z,
        taps=context.taps,
        cases=tuple(names),
        backend=context.backend,
        windows=passed,
    )


def _windows(
    network: nn.Module,
    read: Callable[[], tuple[list[Tensor], dict[str, Tensor]]],
    case: BoxReader,
    grid: Grid,
    places: Sequence[Place],
    *,
    labels: VoxelArray,
    batch: int,
    device: torch.device | str,
    amp: torch.dtype | None,
    head: bool,
    backend: Backend,
) -> Iterator[Window]:
    for chosen, views in batches(case, grid, places, batch):
        logits = _logits(network, views.to(device), amp)
        logits = logits if head else logits[:, :0]
        maps, stages = read()
        for row, place in enumerate(chosen):
            own, further = [layer[row] for layer in maps], {name: layer[row] for name, layer in stages.items()}
            yield Window(case.name, place, labels, output=logits[row], maps=own, stages=further, backend=backend)
        del views, logits, maps, stages, own, further  # freed before the next forward pass


def _logits(network: nn.Module, views: Tensor, amp: torch.dtype | None) -> Tensor:
    with torch.autocast(views.device.type, dtype=amp, enabled=amp is not None):
        logits = network(views)
    if not isinstance(logits, Tensor) or logits.shape[2:] != views.shape[2:]:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"`network` must give logits (b, z, *patch) for {tuple(views.shape)}, got {got}")
    return logits


def _check_case(case: BoxReader, names: list[str], dims: int) -> None:
    if case.name in names:
        raise ValueError(f"`cases` must have distinct names, got {case.name!r} twice")
    # a case on disk was checked when it was prepared
    if isinstance(case, Case) and (case.image.ndim != dims + 1 or case.image.shape[1:] != case.labels.shape):
        shapes = f"{tuple(case.image.shape)} and {tuple(case.labels.shape)}"
        raise ValueError(f"case {case.name!r}: image and labels must be (c, D, H, W) and (D, H, W), got {shapes}")


@dataclass(frozen=True)
class CaseLabels:
    """The labels of a case, (D, H, W) uint8, read box by box and checked.

    Attributes:
        case: the case.
        classes: k; labels must be below it.
    """

    case: BoxReader
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W) voxels."""
        return tuple(self.case.shape)

    def __getitem__(self, box: Box) -> Tensor:
        labels = self.case.read_labels(box)
        if int(labels.max()) >= self.classes:  # maybe of ignored voxels only, which most data sets lack
            largest = int(torch.where(labels == IGNORED, 0, labels).max())
            if largest >= self.classes:
                raise ValueError(f"case {self.case.name!r}: labels must be in 0 .. {self.classes - 1}, got {largest}")
        return labels


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Set eval mode and restore the mode of every module afterwards."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
