"""A source's pass over the target's cases, one case at a time: what is finished is on disk, so a killed run goes on."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import torch
from safetensors import SafetensorError
from torch import nn

from benchmark.data.files.case import Case
from benchmark.errors import SkipPair
from benchmark.features.stream import reduce_stream
from benchmark.jobs.memory import peak_memory, reset_peak_memory
from benchmark.ranking.attempts import attempt
from benchmark.ranking.source_errors import ForwardWatch, blamed_on_source, own_files
from benchmark.sources.model import Model
from benchmark.statistics import Request, SoftmaxRequest, Statistics
from benchmark.storage.files import write_json

KILLS = 2  # in one case, after which a source is skipped; the first may have been somebody's wish
SLICES = 8  # slices that go through a network of two dimensions where one window goes through one of three


@dataclass(frozen=True)
class StreamSettings:
    """How the windows of a case go through a network.

    Attributes:
        window: (3,) voxels, for a source whose own patch is not known.
        overlap: Share by which neighbouring windows overlap.
        batch: Windows that go through the network together.
        device: Where the network runs.
        amp: Name of the dtype of a mixed-precision pass; None for full precision.
    """

    window: tuple[int, ...]
    overlap: float
    batch: int
    device: str
    amp: str | None = None


@dataclass(frozen=True)
class CasePasses:
    """What a pass came to.

    Attributes:
        cases: The statistics of each case, sorted by name.
        seconds: What the forward passes of all cases took, those of an earlier run included.
        peak_memory_mb: The most memory that a case took.
    """

    cases: list[Statistics]
    seconds: float
    peak_memory_mb: float


def window_of(model: Model, shape: Sequence[int], stream: StreamSettings) -> tuple[int, ...]:
    """The window of a source: its own patch, or else the setting, no larger than the case; made to fit the network.

    Args:
        model: The source.
        shape: (3,) voxels of a case.
        stream: The settings.
    """
    if model.patch is not None:
        return model.arch.fit(model.patch)
    return model.arch.fit([min(side, size) for side, size in zip(stream.window, shape, strict=True)])


def try_window(model: Model, network: nn.Module, window: Sequence[int], stream: StreamSettings) -> None:
    """Forward one empty window.

    Raises:
        SourceError: The network raised an exception.
        SkipPair: It returned something else than logits of the window's shape.
    """
    views = torch.zeros(1, model.channels, *window, device=stream.device)
    doing = f"in its forward pass of one empty window of {sides(window)} voxels"
    with blamed_on_source(doing, advice=_advice(model, 1)), torch.no_grad():
        logits = network(views)
    if not isinstance(logits, torch.Tensor) or logits.shape[2:] != views.shape[2:]:
        got = f"{_shape(logits)} for a window of {tuple(views.shape)}"
        raise SkipPair(f"{model.arch.name} does not return logits of its window's shape, but {got}")


def pass_over(
    model: Model,
    network: nn.Module,
    cases: Sequence[Case],
    names: Sequence[str],
    requests: Sequence[Request],
    *,
    stream: StreamSettings,
    classes: int,
    folder: Path,
    report: Callable[[str], None] = lambda case: None,
) -> CasePasses:
    """The statistics of every case, read from the folder or streamed and kept there.

    Args:
        model: The source.
        network: Its network, on the device.
        cases: Read when indexed.
        names: Of the cases, in their order.
        requests: What to accumulate.
        stream: How windows go through.
        classes: k, the target's classes with background.
        folder: Of this source and these cases; made if it is not there.
        report: Called with the name of each case that is done.

    Raises:
        SourceError: The network raised an exception, or a case cannot be prepared as the source needs it.
        SkipPair: The process was killed twice in the same case.
        CaseError: A case of the target cannot be read.
        WriteError: The statistics cannot be written.
    """
    done: dict[str, Statistics] = {}
    with own_files(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        place = folder / quote(name, safe="")
        found = kept(place, requests)
        if found is None:
            with attempt(place.with_name(f"{place.name}.attempt"), f"in the forward pass of case {name}", most=KILLS):
                with blamed_on_source(f"while case {name} was read and prepared for it"):
                    case = cases[index]
                _stream_case(model, network, case, requests, stream=stream, classes=classes, place=place)
            found = Statistics.load(place, requests)
        done[name] = found
        report(name)
    costs = [json.loads(_cost(folder / quote(name, safe="")).read_text(encoding="utf-8")) for name in names]
    return CasePasses(
        [done[name] for name in sorted(done)],
        sum(cost["seconds"] for cost in costs),
        max(cost["peak_memory_mb"] for cost in costs),
    )


def kept(place: Path, requests: Sequence[Request]) -> Statistics | None:
    """The statistics of a case that an earlier run left; None where they are not all there, or cannot be read."""
    try:
        return Statistics.load(place, requests) if _cost(place).is_file() else None
    except (OSError, EOFError, KeyError, ValueError, SafetensorError):
        return None


def drop_softmax(folder: Path, names: Sequence[str]) -> None:
    """Let go of the softmax of every voxel, by far the largest of what a pass leaves, once it was looked at."""
    for name in names:
        place = folder / quote(name, safe="")
        Statistics.load(place).save(place, skip=[SoftmaxRequest()])


def _stream_case(
    model: Model,
    network: nn.Module,
    case: Case,
    requests: Sequence[Request],
    *,
    stream: StreamSettings,
    classes: int,
    place: Path,
) -> None:
    window = window_of(model, case.labels.shape, stream)
    batch = stream.batch * (SLICES if window[0] == 1 else 1)
    windows = f"{batch} window{'s' if batch > 1 else ''} of {sides(window)} voxels at a time"
    doing = f"in its forward pass of case {case.name}, {windows}"
    reset_peak_memory(stream.device)
    start = time.perf_counter()
    with (
        blamed_on_source(doing, advice=_advice(model, batch)),
        ForwardWatch(network) as watch,
        own_files(place.parent, watch),
        tempfile.TemporaryDirectory(dir=place.parent, prefix=".spill-") as spill,
    ):
        statistics = reduce_stream(
            network,
            model.arch.taps,
            [case],
            requests,
            patch_size=window,
            overlap=stream.overlap,
            batch=batch,
            classes=classes,
            device=stream.device,
            amp=getattr(torch, stream.amp) if stream.amp else None,
            head=model.head,
            folder=Path(spill),
        )
        seconds = time.perf_counter() - start
        statistics.save(place)
        write_json(_cost(place), {"seconds": seconds, "peak_memory_mb": peak_memory(stream.device)})


def sides(window: Sequence[int]) -> str:
    """A window's voxels along each axis, as messages have them.

    Example:
        >>> sides((96, 96, 64))
        '96x96x64'
    """
    return "x".join(map(str, window))


def _advice(model: Model, batch: int) -> str:
    """What to do where memory ran out."""
    if batch > 1:
        return "a smaller stream.batch takes less"
    return (
        "a smaller stream.window takes less" if model.patch is None else "its own patch needs more memory than there is"
    )


def _cost(place: Path) -> Path:
    return place.with_name(f"{place.name}.cost.json")


def _shape(logits: object) -> str:
    return str(tuple(logits.shape)) if isinstance(logits, torch.Tensor) else type(logits).__name__
