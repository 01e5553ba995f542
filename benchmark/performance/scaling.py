"""Time and memory of scoring as functions of voxels, cases, classes, feature dims and number of sources.

Each point runs in a fresh process that scores synthetic cases with a network of two pointwise convolutions, so that the
cost of statistics and metrics dominates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

from matplotlib.figure import Figure
from torch import nn

from benchmark.metric.protocol import Metric
from benchmark.performance.measurement import in_fresh_process
from benchmark.performance.workload import Scoring, use_of_scoring
from benchmark.sources.networks.architecture import Architecture

BLUE, ORANGE = "#0072B2", "#D55E00"  # from the colour-blind safe palette of Okabe and Ito


@dataclass(frozen=True)
class Load:
    """Size of a scoring job.

    Attributes:
        size: voxels of a case along each axis.
        cases: number of cases.
        classes: k, and z of the source.
        dims: d, feature dims of the single tapped layer.
        sources: number of networks that are scored and, for pool metrics, combined.
    """

    size: int
    cases: int
    classes: int
    dims: int
    sources: int


@dataclass(frozen=True)
class Cost:
    """Time and memory of a load.

    Attributes:
        axis: field of the load that varies.
        load: the load.
        seconds: time of the passes and all metrics.
        megabytes: peak memory above that after imports, building the network and a small first pass.
    """

    axis: str
    load: Load
    seconds: float
    megabytes: float

    @property
    def value(self) -> int:
        """Value on the axis; for `size`, the number of voxels of a case."""
        value: int = getattr(self.load, self.axis)
        return value**3 if self.axis == "size" else value

    def entry(self) -> dict[str, object]:
        """The point as plain data for JSON."""
        return {"axis": self.axis, "value": self.value, "seconds": self.seconds, "megabytes": self.megabytes} | asdict(
            self.load
        )


@dataclass(frozen=True)
class Growth:
    """The curves to measure.

    Attributes:
        metrics: name -> metric, without extra passes.
        window: voxels of a window along each axis.
        base: load at which the curves meet.
        axes: field of `Load` -> its values along the curve.
    """

    metrics: Mapping[str, Metric]
    window: Sequence[int]
    base: Load
    axes: Mapping[str, Sequence[int]]

    def measure(self, device: str) -> list[Cost]:
        """Measure all points of all curves."""
        loads = [(axis, replace(self.base, **{axis: value})) for axis, values in self.axes.items() for value in values]
        return [self._cost(axis, load, device) for axis, load in loads]

    def _cost(self, axis: str, load: Load, device: str) -> Cost:
        arch = Architecture("pointwise", partial(_pointwise, dims=load.dims), ("0",), (), (), ("1",), load.dims, 1)
        scoring = Scoring(arch, self.metrics, load.classes, self.window, overlap=0.0, batch=1)
        used = in_fresh_process(use_of_scoring, scoring, load.cases, load.size, device, load.sources)
        return Cost(axis, load, used.seconds, used.peak - used.before)


def _pointwise(*, in_channels: int, out_channels: int, dims: int) -> nn.Module:
    return nn.Sequential(nn.Conv3d(in_channels, dims, 1), nn.Conv3d(dims, out_channels, 1))


def growth_figure(costs: Sequence[Cost]) -> Figure:
    """Plot time (top) and memory (bottom), one column per axis; all axes but that of memory are logarithmic."""
    axes = list(dict.fromkeys(cost.axis for cost in costs))
    figure = Figure(figsize=(2.4 * len(axes), 4.4), layout="constrained")
    panels = figure.subplots(2, len(axes), squeeze=False, sharey="row", sharex="col")
    for (above, below), axis in zip(panels.T, axes, strict=True):
        points = [cost for cost in costs if cost.axis == axis]
        values = [cost.value for cost in points]
        above.loglog(values, [cost.seconds for cost in points], "o-", color=BLUE)
        below.semilogx(values, [cost.megabytes for cost in points], "o-", color=ORANGE)
        below.set_xlabel("voxels a case" if axis == "size" else axis)
        names = [f"{cost.load.size}³" if axis == "size" else str(cost.value) for cost in points]
        below.set_xticks(values, names)
        below.minorticks_off()
        for panel in (above, below):
            panel.grid(visible=True, alpha=0.3)
    panels[0][0].set_ylabel("seconds")
    panels[1][0].set(ylabel="megabytes", ylim=(0, None))
    figure.suptitle("Scoring: time and memory against its load")
    return figure
