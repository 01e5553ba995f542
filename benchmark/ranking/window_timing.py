"""Times one window of a source: its forward pass, and what the statistics and the scores cost in addition.

The window's features and logits are kept and replayed by a network that computes nothing, so that the statistics of
several windows, and the scores with their resamples, are timed without further forward passes.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

from benchmark.core.labels import foreground
from benchmark.core.torch_settings import full_precision
from benchmark.data.files.cases import BoxReader, Case
from benchmark.features.replay import Replay
from benchmark.features.stream import reduce_stream, requested_stages, with_stages
from benchmark.features.taps import Taps
from benchmark.features.windows import Grid, Place, box, read_window
from benchmark.jobs.resources import peak_memory, reset_peak_memory
from benchmark.metric.protocol import Metric
from benchmark.ranking.case_bootstrap import second_requests
from benchmark.ranking.case_passes import OpenedSource, StreamSettings, batch_size
from benchmark.ranking.estimates import Estimate, estimate
from benchmark.statistics import Request, Statistics, StoredSoftmax

ENOUGH = 0.5  # seconds of forward passes, after which no further one is timed
REPEATS = 5  # forward passes that are timed where they are shorter
SHORT = 1.0  # seconds of a window, below which a whole batch is timed
SEVERAL = 4  # windows whose statistics are timed, against one, so that the difference is that of windows
COPIES = 2  # cases, with the same window each, whose scores are timed
ROWS = 3  # resamples that are timed, against one


@dataclass(frozen=True)
class WindowTiming:
    """What a source costs, measured on one window of it.

    Attributes:
        forward: Seconds of a window: reading it, and the forward pass.
        voxel: Seconds of the statistics for each voxel of a case that its windows own.
        volume: Seconds of the statistics for each voxel of a case, forwarded or not.
        scores: Seconds of all scores, without what `softmax` counts.
        softmax: Seconds of the scores for each voxel whose softmax is read again.
        draw: Seconds of a resample for each case, for metrics that read no sampled points.
        point_draw: The same for the other metrics.
        peak_memory_mb: Of the process, or of the device.
    """

    forward: float
    voxel: float
    volume: float
    scores: float
    softmax: float
    draw: float
    point_draw: float
    peak_memory_mb: float


def time_window(
    opened: OpenedSource,
    requests: Sequence[Request],
    metrics: Mapping[str, Metric],
    *,
    stream: StreamSettings,
    classes: int,
    folder: Path,
) -> WindowTiming:
    """Time the window with most foreground of the source's first case.

    Args:
        opened: The source.
        requests: What a pass accumulates.
        metrics: What is computed from it.
        stream: How windows go through.
        classes: k, the target's classes with background.
        folder: For temporary files; must exist.

    Raises:
        Exception: Whatever the network raises.
    """
    case = opened.cases.reader(0)
    grid = Grid(tuple(case.shape), opened.window, stream.overlap)
    places = _most_foreground(case, grid)
    batch = batch_size(opened.window, stream)
    reset_peak_memory(stream.device)
    before = peak_memory(stream.device)
    taps = with_stages(opened.pair.model.arch.taps, requested_stages(requests, lambda: opened.stages))
    forward, replay = _time_forward(opened, case, grid, places[0], stream, taps=taps)
    # a whole batch takes as much for each further window, where only one was forwarded
    more_memory = (peak_memory(stream.device) - before) * (batch - 1 if forward >= SHORT else 0)

    timed = partial(_timed_pass, replay, opened, requests=requests, stream=stream, classes=classes)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".timing-") as temporary:
        spill = Path(temporary)
        single = [timed(_with_labels_in(case, places[:1], name=f"{copy}"), folder=spill) for copy in range(COPIES)]
        several, _ = timed(_with_labels_in(case, places, name="several"), folder=spill)
        peak = peak_memory(stream.device) + more_memory
        passed = [statistics for _, statistics in single]
        if second := second_requests(metrics, passed, resampled=True):
            again = [timed(_with_labels_in(case, places[:1], name=own.cases[0]), requests=second, folder=spill)[1]
                     for own in passed]  # fmt: skip
            passed = [own.extended(more) for own, more in zip(passed, again, strict=True)]
        scores = _time_scores(metrics, passed, prod(places[0].shape))
    alone = min(seconds for seconds, _ in single)
    owned, more = prod(places[0].shape), sum(prod(place.shape) for place in places[1:])
    voxel = max(several - alone, 0.0) / more if more else alone / owned
    volume = max(alone - voxel * owned, 0.0) / prod(case.shape)
    return WindowTiming(forward, voxel, volume, **scores, peak_memory_mb=peak)


def _timed_pass(
    replay: nn.Module,
    opened: OpenedSource,
    part: Case,
    *,
    requests: Sequence[Request],
    stream: StreamSettings,
    classes: int,
    folder: Path,
) -> tuple[float, Statistics]:
    """The seconds of a pass over a case without its forward passes, and its statistics, kept in a folder."""
    start = time.perf_counter()
    statistics = reduce_stream(
        replay,
        opened.pair.model.arch.taps,
        [part],
        requests,
        patch_size=opened.window,
        overlap=stream.overlap,
        batch=batch_size(opened.window, stream),
        windows="foreground",
        classes=classes,
        device=stream.device,
        head=opened.pair.model.head,
        stages=lambda: opened.stages,
        folder=folder / part.name,
    )
    return time.perf_counter() - start, statistics


def _time_forward(
    opened: OpenedSource, case: BoxReader, grid: Grid, place: Place, stream: StreamSettings, *, taps: Sequence[str]
) -> tuple[float, nn.Module]:
    """Seconds of one window, and a network that replays it; short windows are forwarded in batches, as in a pass."""
    amp = getattr(torch, stream.amp) if stream.amp else None
    network = opened.network

    def forward(count: int) -> tuple[float, Replay]:
        start = time.perf_counter()
        case.read_labels(box(place.start, place.shape))
        views = torch.stack([read_window(case, place, grid)] * count).to(stream.device)
        with Taps(network, taps) as captured, torch.autocast(views.device.type, dtype=amp, enabled=amp is not None):
            logits = network(views)
            maps = dict(zip(captured.names, captured.take(), strict=True))
        if views.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, Replay(maps, logits)

    with full_precision(stream.device), torch.no_grad():
        first, replay = forward(1)
        count = batch_size(opened.window, stream) if first < SHORT else 1
        seconds = [first] if count == 1 else []
        while sum(seconds) < ENOUGH and len(seconds) < REPEATS:
            spent, replay = forward(count)
            seconds.append(spent / count)
    return median(seconds), replay


def _most_foreground(case: BoxReader, grid: Grid) -> list[Place]:
    """Some windows, those with most foreground first."""

    def voxels(place: Place) -> int:
        return int(foreground(case.read_labels(box(place.start, place.shape))).sum())

    return sorted(grid.places, key=voxels, reverse=True)[:SEVERAL]


def _with_labels_in(case: BoxReader, places: Sequence[Place], *, name: str) -> Case:
    """A case of the same size that has foreground in some windows only, and an image that takes no memory."""
    labels = torch.zeros(tuple(case.shape), dtype=torch.uint8)
    for place in places:
        labels[box(place.start, place.shape)] = case.read_labels(box(place.start, place.shape))
        labels[place.start] = 1
    channels = len(case.read_image(box((0, 0, 0), (1, 1, 1))))
    return Case(name, torch.zeros(1).expand(channels, *labels.shape), labels, tuple(case.spacing))


def _time_scores(metrics: Mapping[str, Metric], cases: Sequence[Statistics], owned: int) -> dict[str, float]:
    """The seconds of the scores and of resamples, from cases that own so many voxels each."""

    def timed(rows: int, point_rows: int) -> float:
        counts = np.ones((rows, len(cases)), dtype=np.int64)
        start = time.perf_counter()
        estimates.update(estimate(metrics, cases, counts, point_draws=point_rows, failed=lambda doing, error: doing))
        return time.perf_counter() - start

    estimates: dict[str, Estimate] = {}
    timed(0, 0)
    first, other, points = timed(1, 1), timed(1 + ROWS, 1), timed(1 + ROWS, 1 + ROWS)
    rows = sum(_own_seconds(metrics, estimates, rows=True))
    return {
        "scores": sum(_own_seconds(metrics, estimates, rows=False)),
        "softmax": rows / (owned * len(cases)),
        "draw": max(other - first, 0.0) / ROWS / len(cases),
        "point_draw": max(points - other, 0.0) / ROWS / len(cases),
    }


def _own_seconds(metrics: Mapping[str, Metric], estimates: Mapping[str, Estimate], *, rows: bool) -> list[float]:
    """The seconds of the metrics that read stored softmax, or of the others."""
    return [
        estimates[name].seconds
        for name, metric in metrics.items()
        if any(request.kind is StoredSoftmax for request in metric.requires) == rows
    ]
