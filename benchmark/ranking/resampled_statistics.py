"""The statistics of a resample of the cases, from those of each case.

Class moments and joint histograms are sums over cases, so a case that was drawn twice is merged twice. Sampled points
are those that sampling the resampled voxels would give, each voxel at most once: of c copies of a voxel the least of c
uniform priorities counts, which for one priority p is distributed as 1 - (1 - p)^(1/c). A voxel beside its own copy
would be its own nearest neighbour. The second look at the softmax reads a part of the voxels, at one rate for a class.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import reduce
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.statistics import (
    ClassMoments,
    JointHistogram,
    PointSample,
    Request,
    Statistics,
    StoredSoftmax,
)
from benchmark.statistics.point_table import PointTable
from benchmark.statistics.softmax import SoftmaxRows

# Voxels of a class, over all cases, that the second look at the softmax reads again for each resample: the mean of so
# many logarithms is known a hundred times better than one of them
SECOND_LOOK = 10_000

Item = TypeVar("Item")


class ResampledCases:
    """The statistics of all cases, one by one, from which those of any resample are made.

    Args:
        cases: of each case, sorted by name.
        requests: which statistics; those of `CasePoints` have no resample of this kind.

    Raises:
        TypeError: if a request is of another kind.
    """

    def __init__(self, cases: Sequence[Statistics], requests: Sequence[Request]) -> None:
        self._cases = list(cases)
        self._entries = {request: _resampler(request, self._cases) for request in requests}

    def statistics(self, counts: NDArray[np.int64]) -> Statistics:
        """The statistics of one resample.

        Args:
            counts: (m,) how often each case was drawn, at least one of them.

        Returns:
            A bag with an entry for each request.
        """
        first = self._cases[0]
        entries = {request: resampled(counts) for request, resampled in self._entries.items()}
        names = tuple(case.cases[0] for case, count in zip(self._cases, counts, strict=True) if count)
        return Statistics(entries, k=first.k, z=first.z, taps=first.taps, cases=names, backend=first.backend)


class SoftmaxLook:
    """Some voxels of a resample's cases, read as `StoredSoftmax` is.

    Args:
        drawn: voxels of each drawn case, as often as it was drawn.
    """

    def __init__(self, drawn: Sequence[SoftmaxRows]) -> None:
        self._drawn = drawn

    def rows(self, case: str | None = None) -> Iterator[SoftmaxRows]:
        """The voxels, case after case.

        Args:
            case: only this one.

        Yields:
            The voxels of one case.
        """
        yield from (rows for rows in self._drawn if case in (None, rows.case))


def _resampler(request: Request, cases: Sequence[Statistics]) -> Callable[[NDArray[np.int64]], Any]:
    """Counts of the cases -> the statistic of that resample."""
    held: list[Any] = [case[request] for case in cases]
    if request.kind is StoredSoftmax:
        rates = _rates(held, cases[0].k)
        looks = [_few_rows(case, rates) for case in held]
        return lambda counts: SoftmaxLook(_drawn(looks, counts))
    if request.kind is PointSample:
        return _Points(held)
    if request.kind in (ClassMoments, JointHistogram):
        return lambda counts: reduce(lambda a, b: a.merge(b), _drawn(held, counts))
    raise TypeError(f"`requests` must be of moments, joints, points or softmax, got {request!r}")


def _drawn(items: Sequence[Item], counts: NDArray[np.int64]) -> list[Item]:
    return [item for item, count in zip(items, counts, strict=True) for _ in range(count)]


class _Points:
    """One class-balanced sample of the voxels of a resample, from the samples of its cases."""

    def __init__(self, samples: Sequence[PointSample]) -> None:
        self._first = samples[0]
        tables = [
            replace(sample.table, cases=torch.full_like(sample.table.cases, place))
            for place, sample in enumerate(samples)
            if sample.table is not None
        ]
        columns = [field.name for field in fields(PointTable)]
        self._all = PointTable(*(torch.cat([getattr(table, name) for table in tables]) for name in columns))

    def __call__(self, counts: NDArray[np.int64]) -> PointSample:
        first = self._first
        copies = torch.from_numpy(counts)[self._all.cases]
        priorities = -torch.expm1(torch.log1p(-self._all.priorities) / copies)
        order = torch.argsort(priorities, stable=True)
        order = order[copies[order] > 0]
        labels = self._all.labels[order]
        rows = torch.cat([order[labels == label][: first.quota] for label in range(first.k)])
        sample = PointSample(k=first.k, quota=first.quota, layer=first.layer, seed=first.seed)
        sample.table = self._all.take(rows)
        return sample


def _rates(cases: Sequence[StoredSoftmax], k: int) -> Tensor:
    """(k,) float64: the share of each class's voxels that the second look reads."""
    sizes = torch.zeros(k, dtype=torch.int64)
    for case in cases:
        for block in case.rows():
            sizes += torch.bincount(block.labels, minlength=k)
    return (SECOND_LOOK / sizes.clamp(min=1)).clamp(max=1.0).double()


def _few_rows(case: StoredSoftmax, rates: Tensor) -> SoftmaxRows:
    """Evenly spread voxels of a case: the j-th of a class is read where floor(j rate) grows."""
    softmax, labels = [], []
    seen = torch.zeros_like(rates, dtype=torch.int64)
    for block in case.rows():
        for label in range(len(rates)):
            members = torch.nonzero(block.labels == label).squeeze(1)
            places = seen[label] + torch.arange(len(members))
            chosen = members[(places * rates[label]).floor() < ((places + 1) * rates[label]).floor()]
            seen[label] += len(members)
            softmax.append(block.softmax[chosen])
            labels.append(block.labels[chosen])
    return SoftmaxRows(case.cases[0], torch.cat(softmax), torch.cat(labels))
