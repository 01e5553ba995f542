"""A source's pass over the target's cases, one case at a time: what is finished is on disk, so a killed run goes on."""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import torch
from torch import nn

from benchmark.data.case import Case
from benchmark.errors import SkipPair
from benchmark.features.stream import reduce_stream
from benchmark.memory import peak_memory, reset_peak_memory
from benchmark.sources.model import Model
from benchmark.statistics import Request, SoftmaxRequest, Statistics
from benchmark.statistics.files import write_json

SLICES = 8  # slices that go through a network of two dimensions where one window goes through one of three


@dataclass(frozen=True)
class Stream:
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
class Pass:
    """What a pass came to.

    Attributes:
        cases: The statistics of each case, sorted by name.
        seconds: What the forward passes of all cases took, those of an earlier run included.
        peak_memory_mb: The most memory that a case took.
    """

    cases: list[Statistics]
    seconds: float
    peak_memory_mb: float


def window_of(model: Model, shape: Sequence[int], stream: Stream) -> tuple[int, ...]:
    """The window of a source: its own patch, or else the setting, no larger than the case; made to fit the network.

    Args:
        model: The source.
        shape: (3,) voxels of a case.
        stream: The settings.
    """
    if model.patch is not None:
        return model.arch.fit(model.patch)
    return model.arch.fit([min(side, size) for side, size in zip(stream.window, shape, strict=True)])


def try_window(model: Model, network: nn.Module, window: Sequence[int], stream: Stream) -> None:
    """Forward one empty window.

    Raises:
        SkipPair: The network does not take it.
    """
    views = torch.zeros(1, model.channels, *window, device=stream.device)
    try:
        with torch.no_grad():
            logits = network(views)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        told = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        asked = "x".join(map(str, window))
        raise SkipPair(f"{model.arch.name} must take windows of {asked} voxels, got: {told}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape[2:] != views.shape[2:]:
        raise SkipPair(f"{model.arch.name} must give logits of its window's shape, got {_shape(logits)}")


def pass_over(
    model: Model,
    network: nn.Module,
    cases: Sequence[Case],
    names: Sequence[str],
    requests: Sequence[Request],
    *,
    stream: Stream,
    classes: int,
    folder: Path,
    report: Callable[[str], None] = lambda case: None,
) -> Pass:
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
        SkipPair: The device's memory is too small.
    """
    done: dict[str, Statistics] = {}
    for index, name in enumerate(names):
        place = folder / quote(name, safe="")
        if kept(place, requests) is None:
            try:
                _stream_case(model, network, cases[index], requests, stream=stream, classes=classes, place=place)
            except torch.OutOfMemoryError as error:
                raise SkipPair(f"the device's memory is too small for a batch of {stream.batch} windows") from error
        found = kept(place, requests)
        if found is not None:
            done[name] = found
        report(name)
    costs = [json.loads(_cost(folder / quote(name, safe="")).read_text(encoding="utf-8")) for name in names]
    return Pass(
        [done[name] for name in sorted(done)],
        sum(cost["seconds"] for cost in costs),
        max(cost["peak_memory_mb"] for cost in costs),
    )


def kept(place: Path, requests: Sequence[Request]) -> Statistics | None:
    """The statistics of a case that an earlier run left; None where they are not all there."""
    try:
        return Statistics.load(place, requests) if _cost(place).is_file() else None
    except (FileNotFoundError, KeyError):
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
    stream: Stream,
    classes: int,
    place: Path,
) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    window = window_of(model, case.labels.shape, stream)
    flat = window[0] == 1
    reset_peak_memory(stream.device)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".spill-") as spill:
        statistics = reduce_stream(
            network,
            model.arch.taps,
            [case],
            requests,
            patch_size=window,
            overlap=stream.overlap,
            batch=stream.batch * (SLICES if flat else 1),
            classes=classes,
            device=stream.device,
            amp=getattr(torch, stream.amp) if stream.amp else None,
            folder=Path(spill),
        )
        seconds = time.perf_counter() - start
        statistics.save(place)
    write_json(_cost(place), {"seconds": seconds, "peak_memory_mb": peak_memory(stream.device)})


def _cost(place: Path) -> Path:
    return place.with_name(f"{place.name}.cost.json")


def _shape(logits: object) -> str:
    return str(tuple(logits.shape)) if isinstance(logits, torch.Tensor) else type(logits).__name__
