"""A source's pass over the target's cases; each finished case is on disk, so that a killed run resumes."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from benchmark.data.files.cases import BoxReader
from benchmark.data.prepared.cases import Cases
from benchmark.errors import SkipPair
from benchmark.features.stream import reduce_stream, requested_stages, with_stages
from benchmark.features.window_selection import WindowPolicy, check_windows
from benchmark.jobs.resources import peak_memory, reset_peak_memory
from benchmark.metric.protocol import Metric
from benchmark.ranking.kill_markers import attempt
from benchmark.ranking.source_errors import blamed_on_source, own_files
from benchmark.sources.model import Model
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.sources.networks.stage_discovery import stages_of_model
from benchmark.sources.pairing import Pair
from benchmark.statistics import Request, Statistics
from benchmark.statistics.case_cache import MeasuredPass, entry_path, kept

KILLS = 2  # in one case, after which a source is skipped; the first may have been somebody's wish
SLICES = 8  # slices that go through a network of two dimensions where one window goes through one of three


@dataclass(frozen=True)
class StreamSettings:
    """Which windows of a case go through a network, and how.

    Attributes:
        window: (3,) voxels, for a source whose own patch is not known.
        overlap: Share by which neighbouring windows overlap.
        batch: Windows that go through the network together.
        device: Where the network runs.
        amp: Name of the dtype of a mixed-precision pass; None for full precision.
        windows: Which windows; see `benchmark.features.window_selection`.

    Raises:
        InputError: A setting is invalid, whatever the source and the case.
    """

    window: tuple[int, ...]
    overlap: float
    batch: int
    device: str
    amp: str | None = None
    windows: WindowPolicy = "all"

    def __post_init__(self) -> None:
        check_windows(window=self.window, overlap=self.overlap, batch=self.batch, windows=self.windows)


@dataclass(frozen=True)
class OpenedSource:
    """A source that is paired with the target.

    Attributes:
        pair: The adapted model and the preparation of its cases.
        network: Its network, on the device.
        cases: Of the target as it sees them; read when indexed.
        window: (3,) voxels of its window for the first case.
        seconds: To read its files and to build its network.
    """

    pair: Pair
    network: nn.Module
    cases: Cases
    window: tuple[int, ...]
    seconds: float = 0.0

    @cached_property
    def stages(self) -> NetworkStages:
        """The stages of its network."""
        return stages_of_model(self.pair.model)


def tapped(model: Model, metrics: Mapping[str, Metric]) -> list[str]:
    """Names of the modules whose output a pass for some metrics keeps."""
    requests = [request for metric in metrics.values() for request in metric.requires]
    return with_stages(model.arch.taps, requested_stages(requests, lambda: stages_of_model(model)))


def window_of(model: Model, shape: Sequence[int], stream: StreamSettings) -> tuple[int, ...]:
    """The window of a source: its own patch, or else the setting, at most a case's (3,) shape; fit to the network."""
    if model.patch is not None:
        return model.arch.fit(model.patch)
    return model.arch.fit([min(side, size) for side, size in zip(stream.window, shape, strict=True)])


def batch_size(window: Sequence[int], stream: StreamSettings) -> int:
    """How many windows of (3,) voxels go through a network together."""
    return stream.batch * (SLICES if window[0] == 1 else 1)


def try_window(opened: OpenedSource, stream: StreamSettings) -> None:
    """Forward one empty window.

    Raises:
        SourceError: The network raised an exception.
        SkipPair: It returned something else than logits of the window's shape.
    """
    model = opened.pair.model
    views = torch.zeros(1, model.channels, *opened.window, device=stream.device)
    doing = f"in its forward pass of one empty window of {sides(opened.window)} voxels"
    with blamed_on_source(doing, advice=_advice(model, 1)), torch.no_grad():
        logits = opened.network(views)
    check_logits(model, logits, tuple(views.shape))


def check_taps(model: Model) -> None:
    """Check that a source has layers to tap.

    Raises:
        SkipPair: It has none.
    """
    if not model.arch.taps:
        raise SkipPair(f"{model.arch.name}: no layer was found that feeds its segmentation head")


def check_weights(network: nn.Module) -> None:
    """Check that a network's weights are finite; infinite buffers are sound.

    Raises:
        SkipPair: A weight is NaN or infinite, or a buffer is NaN.
    """
    weights = ((name, weight.isfinite()) for name, weight in network.named_parameters())
    buffers = ((name, ~buffer.isnan()) for name, buffer in network.named_buffers())
    if corrupt := next((name for name, sound in chain(weights, buffers) if not sound.all()), ""):
        raise SkipPair(f"its weights hold NaN or inf in {corrupt}")


def check_logits(model: Model, logits: object, window: tuple[int, ...]) -> None:
    """Check that a network returned logits (1, z, D, H, W) for a window (1, c, D, H, W).

    Raises:
        SkipPair: It returned something else.
    """
    if not isinstance(logits, torch.Tensor) or logits.shape[2:] != window[2:]:
        got = str(tuple(logits.shape)) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise SkipPair(
            f"{model.arch.name} does not return logits of its window's shape, but {got} for a window of {window}"
        )


def pass_over(
    opened: OpenedSource,
    digests: Mapping[str, str],
    requests: Sequence[Request],
    *,
    stream: StreamSettings,
    classes: int,
    folder: Path,
    report: Callable[[str], None] = lambda case: None,
) -> tuple[list[Statistics], dict[str, float]]:
    """The statistics of every case, sorted by name, read from the folder or streamed and kept there; and the cost.

    The cost is `seconds`, of all forward passes with those of an earlier run, and `peak_memory_mb`, of any case.

    Args:
        opened: The source.
        digests: Case -> its digest, in the order of the source's cases.
        requests: What to accumulate.
        stream: How windows go through.
        classes: k, the target's classes with background.
        folder: Of this source and its preparation; created if missing.
        report: Called with the name of each case that is done.

    Raises:
        SourceError: The network raised an exception, or a case cannot be prepared as the source needs it.
        SkipPair: The process was killed twice in the same case.
        CaseError: A case of the target cannot be read.
        WriteError: The statistics cannot be written.
    """
    entries = [entry_path(folder, name, digest) for name, digest in digests.items()]
    missing = [index for index, entry in enumerate(entries) if kept(entry, requests) is None]
    with blamed_on_source("while the cases were read and prepared for it"):
        opened.cases.prepare(missing, required=False)
    done: dict[str, MeasuredPass] = {}
    for index, (name, entry) in enumerate(zip(digests, entries, strict=True)):
        measured = kept(entry, requests)
        if measured is None:
            with attempt(entry.with_name(f"{entry.name}.attempt"), f"in the forward pass of case {name}", most=KILLS):
                with blamed_on_source(f"while case {name} was read and prepared for it"):
                    case = opened.cases.reader(index)
                _stream_case(opened, case, requests, stream=stream, classes=classes, entry=entry)
            measured = MeasuredPass.load(entry, requests)
        done[name] = measured
        report(name)
    cost = {
        "seconds": sum(measured.seconds for measured in done.values()),
        "peak_memory_mb": max(measured.peak_memory_mb for measured in done.values()),
    }
    return [done[name].statistics for name in sorted(done)], cost


def _stream_case(
    opened: OpenedSource,
    case: BoxReader,
    requests: Sequence[Request],
    *,
    stream: StreamSettings,
    classes: int,
    entry: Path,
) -> None:
    model = opened.pair.model
    window = window_of(model, case.shape, stream)
    batch = batch_size(window, stream)
    windows = f"{batch} window{'s' if batch > 1 else ''} of {sides(window)} voxels at a time"
    doing = f"in its forward pass of case {case.name}, {windows}"
    reset_peak_memory(stream.device)
    start = time.perf_counter()
    with (
        blamed_on_source(doing, advice=_advice(model, batch)),
        own_files(entry.parent, opened.network),
        tempfile.TemporaryDirectory(dir=entry.parent, prefix=".spill-") as spill,
    ):
        statistics = reduce_stream(
            opened.network,
            model.arch.taps,
            [case],
            requests,
            patch_size=window,
            overlap=stream.overlap,
            batch=batch,
            windows=stream.windows,
            classes=classes,
            device=stream.device,
            amp=getattr(torch, stream.amp) if stream.amp else None,
            head=model.head,
            stages=lambda: opened.stages,
            folder=Path(spill),
        )
        seconds = time.perf_counter() - start
        MeasuredPass(statistics, seconds, peak_memory(stream.device)).save(entry)


def sides(window: Sequence[int]) -> str:
    """A window's voxels along each axis, as messages have them.

    Example:
        >>> sides((96, 96, 64))
        '96x96x64'
    """
    return "x".join(map(str, window))


def _advice(model: Model, batch: int) -> str:
    if batch > 1:
        return "a smaller stream.batch takes less"
    return (
        "a smaller stream.window takes less" if model.patch is None else "its own patch needs more memory than there is"
    )
