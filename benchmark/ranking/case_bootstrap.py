"""Resamples of the cases, shared by all sources and estimates so that differences are paired, and their statistics.

With at least 6 cases the resamples are bootstrap draws; with 2 to 5 each leaves one case out; one case has none.

Class moments and joint histograms are sums over cases, so a case that was drawn twice is merged twice. Sampled points
are those that sampling the resampled voxels would give, each voxel at most once: of c copies of a voxel the least of c
uniform priorities counts, which for one priority p is distributed as 1 - (1 - p)^(1/c). A voxel next to its own copy
would be its own nearest neighbour. The second look at the softmax reads a part of the voxels, at one rate for a class.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial, reduce
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.metric.protocol import Metric, second_looks
from benchmark.statistics import (
    SOFTMAX,
    ClassMoments,
    JointHistogram,
    JointRequest,
    PointSample,
    Request,
    SoftmaxSample,
    SoftmaxSampleRequest,
    Statistics,
)
from benchmark.statistics.points import PointTable
from benchmark.statistics.softmax import SoftmaxRows

Counts: TypeAlias = NDArray[np.int64]
Item = TypeVar("Item")

# Below it a bootstrap over cases says little, and its resamples often hold only a case or two
FEWEST_CASES = 6
# Voxels of a class, over all cases, that the second look at the softmax reads again for each resample: the mean of so
# many logarithms is known a hundred times better than one of them
SECOND_LOOK = 10_000
# Values of those voxels in all, 128 MB in float32: with very many classes fewer voxels of each are read
SECOND_LOOK_VALUES = 2**25


@dataclass(frozen=True)
class CaseResamples:
    """Resamples of the cases.

    Attributes:
        kind: How they were made.
        counts: (b, m) int64, how often each resample contains each case.
    """

    kind: Literal["bootstrap", "leave-one-out", "none"]
    counts: Counts

    def describe(self, point_draws: int) -> str:
        """How intervals were made, where metrics of sampled points have at most `point_draws` resamples."""
        number = len(self.counts)
        if self.kind == "none":
            return f"no intervals: {'draws is 0' if self.counts.shape[1] > 1 else 'they need two cases at least'}"
        if self.kind == "leave-one-out":
            return f"[ ]: range of the score and the {number} that leave one case out; too few cases for a bootstrap"
        return (
            f"[ ]: 95% bootstrap intervals over cases, {number} resamples ({min(point_draws, number)} for metrics that "
            f"read sampled points, and for the standing)"
        )


def resample_cases(m: int, *, draws: int, generator: np.random.Generator) -> CaseResamples:
    """Resamples of m cases: `draws` of them, or m, or none.

    Example:
        >>> resample_cases(3, draws=100, generator=np.random.default_rng(0)).counts.tolist()
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    if m < 2 or draws < 1:
        return CaseResamples("none", np.zeros((0, m), dtype=np.int64))
    if m < FEWEST_CASES:
        return CaseResamples("leave-one-out", 1 - np.eye(m, dtype=np.int64))
    return CaseResamples("bootstrap", generator.multinomial(m, np.full(m, 1 / m), size=draws).astype(np.int64))


class ResampledCases:
    """The statistics of all cases, one by one, from which those of any resample are made.

    Args:
        cases: of each case, sorted by name.
        requests: which statistics; those of `CasePoints` have no resample of this kind.

    Raises:
        TypeError: if a request is of another kind.
    """

    def __init__(self, cases: Sequence[Statistics], requests: Sequence[Request]) -> None:
        self._cases = cases
        self._entries = {request: _resampler(request, cases) for request in requests}

    def statistics(self, counts: Counts) -> Statistics:
        """The requested statistics of one resample, which contains each case `counts` (m,) times; at least one case."""
        first = self._cases[0]
        entries = {request: resampled(counts) for request, resampled in self._entries.items()}
        names = tuple(case.cases[0] for case, count in zip(self._cases, counts, strict=True) if count)
        return Statistics(entries, k=first.k, z=first.z, taps=first.taps, cases=names, backend=first.backend)


@dataclass(frozen=True)
class SoftmaxLook:
    """Some voxels of each drawn case, as often as it was drawn, read as `StoredSoftmax` is."""

    drawn: Sequence[SoftmaxRows]

    def rows(self, case: str | None = None) -> Iterator[SoftmaxRows]:
        """The voxels, case after case, or those of one case."""
        yield from (rows for rows in self.drawn if case in (None, rows.case))


def _resampler(request: Request, cases: Sequence[Statistics]) -> Callable[[Counts], Any]:
    """A function from the counts of the cases to the statistic of that resample."""
    if request == SOFTMAX:
        looks = [block for sample in _samples(cases) for block in sample.rows()]
        of_case = [[block for block in looks if block.case == case.cases[0]] for case in cases]
        return lambda counts: SoftmaxLook([block for blocks in _drawn(of_case, counts) for block in blocks])
    stored: list[Any] = [case[request] for case in cases]
    if issubclass(request.kind, PointSample):
        return partial(_resampled_points, stored[0], _all_points(stored))
    if request.kind in (ClassMoments, JointHistogram):
        return lambda counts: reduce(lambda a, b: a.merge(b), _drawn(stored, counts))
    raise TypeError(f"`requests` must be of moments, joints, points or softmax, got {request!r}")


def _drawn(items: Sequence[Item], counts: Counts) -> list[Item]:
    return [item for item, count in zip(items, counts, strict=True) for _ in range(count)]


def _all_points(samples: Sequence[PointSample]) -> PointTable:
    """The samples of all cases in one table, whose cases are their places."""
    tables = [
        replace(sample.table, cases=torch.full_like(sample.table.cases, place))
        for place, sample in enumerate(samples)
        if sample.table is not None
    ]
    return PointTable(*(torch.cat([getattr(table, field.name) for table in tables]) for field in fields(PointTable)))


def _resampled_points(first: PointSample, table: PointTable, counts: Counts) -> PointSample:
    """A class-balanced sample of the voxels of a resample, with the settings of the first case's sample."""
    copies = torch.from_numpy(counts)[table.cases]
    drawn = replace(table, priorities=-torch.expm1(torch.log1p(-table.priorities) / copies)).take(copies > 0)
    return first.with_table(drawn.smallest(first.quota, first.k))


def sample_request(joint: JointHistogram) -> SoftmaxSampleRequest:
    """The request for the voxels that the second look reads again for each resample, from the joint of all cases."""
    voxels = min(SECOND_LOOK, SECOND_LOOK_VALUES // (joint.k * joint.z))
    return SoftmaxSampleRequest(tuple((voxels / joint.count.clamp(min=1)).clamp(max=1.0).tolist()))


def second_requests(metrics: Mapping[str, Metric], cases: Sequence[Statistics], *, resampled: bool) -> list[Request]:
    """What a second forward pass accumulates for a source whose softmax is not stored; nothing for others.

    Args:
        metrics: name -> metric.
        cases: the statistics of the first pass over each case.
        resampled: whether scores of resamples will be computed.
    """
    if SOFTMAX in cases[0]:
        return []
    joint = JointRequest()
    entries: dict[Request, Any] = {joint: _merged(cases, joint)} if joint in cases[0] else {}
    looks = second_looks(metrics, replace(cases[0], entries=entries))
    requests: list[Request] = list(dict.fromkeys(looks.values()))
    return [*requests, sample_request(entries[joint])] if requests and resampled else requests


def _merged(cases: Sequence[Statistics], request: Request) -> Any:
    return reduce(lambda a, b: a.merge(b), [case[request] for case in cases])


def _samples(cases: Sequence[Statistics]) -> list[SoftmaxSample]:
    """A sample of the softmax of each case: from its second forward pass, or from its stored softmax."""
    request = sample_request(_merged(cases, JointRequest()))
    return [
        case[request] if request in case else SoftmaxSample.of_rows(request.rates, case.cases[0], case[SOFTMAX].rows())
        for case in cases
    ]
