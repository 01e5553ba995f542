"""SoftmaxSample: the softmax of a few voxels of each case, for estimates that are computed for many resamples."""

from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmark.statistics.protocol import OwnedWindow, PassContext, Statistic, VoxelArray, check_mergeable
from benchmark.statistics.softmax import SoftmaxRows
from benchmark.storage.files import read_json, read_tensors, write_json, write_tensors


class SoftmaxSample(Statistic):
    """A share of the voxels of each class, spread evenly over each case: the j-th is kept where ceil(j rate) grows.

    So a case keeps the first voxel of each of its classes, however small it is; resamples of a few cases need one.

    Args:
        rates: (k,) share of each class's voxels that is kept, at most 1.

    Example:
        >>> rows = SoftmaxRows("a", torch.eye(4), torch.tensor([0, 0, 1, 0]))
        >>> [block.labels.tolist() for block in SoftmaxSample.of_rows((0.4, 1.0), "a", [rows]).rows()]
        [[0, 0, 1]]
    """

    settings = ("rates",)

    def __init__(self, rates: Iterable[float]) -> None:
        self.rates = tuple(rates)
        self._blocks: dict[str, SoftmaxRows] = {}

    @classmethod
    def of_rows(cls, rates: Iterable[float], case: str, rows: Iterable[SoftmaxRows]) -> Self:
        """The sample of one case whose softmax can be read."""
        sample = cls(rates)
        sample._start(case)
        for block in rows:
            sample._choose(block.softmax, block.labels)
        sample.end(case)
        return sample

    def rows(self, case: str | None = None) -> Iterator[SoftmaxRows]:
        """The sampled voxels, case by case, or those of one case; none for a case without any."""
        blocks = (self._blocks[name] for name in (self.cases if case is None else (case,)))
        yield from (block for block in blocks if len(block.labels))

    def begin(self, case: str, labels: VoxelArray, *, seen: VoxelArray | None = None) -> None:
        """Start a case."""
        super().begin(case, labels, seen=seen)
        self._start(case)

    def update(self, window: OwnedWindow) -> None:
        """Choose among the voxels that a window owns."""
        for softmax, labels in window.predictions():
            self._choose(softmax, labels)

    def end(self, case: str) -> None:
        """Keep the chosen voxels of the case."""
        _, _, blocks = self._opened()
        softmax, labels = zip(*blocks, strict=True) if blocks else ((torch.zeros(0, 1),), (torch.zeros(0).long(),))
        super().end(case)
        self._add({case: SoftmaxRows(case, torch.cat(softmax), torch.cat(labels))})

    def merge(self, other: Self) -> Self:
        """Merge the samples of other cases.

        Raises:
            ValueError: if the rates differ, or a case is in both.
        """
        check_mergeable(self, other, self.settings)
        merged = copy(self)
        merged._add(other._blocks)
        return merged

    def save(self, folder: Path) -> None:
        """Write a file for the rows of each case, and a manifest."""
        for place, block in enumerate(map(self._blocks.__getitem__, self.cases)):
            tensors = {"softmax": block.softmax, "labels": block.labels}
            write_tensors(folder / f"{place}.safetensors", tensors)
        write_json(folder / "softmax_sample.json", self._values() | {"names": self.cases})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        values = read_json(folder / "softmax_sample.json")
        sample = cls(values["rates"])
        for place, case in enumerate(values["names"]):
            sample._add({case: SoftmaxRows(case, **read_tensors(folder / f"{place}.safetensors"))})
        return sample

    def _start(self, case: str) -> None:
        self._open = (torch.tensor(self.rates, dtype=torch.float64), torch.zeros(len(self.rates)).long(), [])

    def _choose(self, softmax: Tensor, labels: Tensor) -> None:
        rates, read, blocks = self._opened()
        targets = labels.cpu()
        for label in range(len(rates)):
            members = torch.nonzero(targets == label).squeeze(1)
            places = read[label] + torch.arange(len(members))
            chosen = members[(places * rates[label]).ceil() < ((places + 1) * rates[label]).ceil()]
            read[label] += len(members)
            if len(chosen):
                blocks.append((softmax[chosen.to(softmax.device)].float().cpu(), targets[chosen].long()))

    def _add(self, blocks: dict[str, SoftmaxRows]) -> None:
        self._blocks = {**self._blocks, **blocks}
        self.cases = tuple(sorted(self._blocks))


@dataclass(frozen=True)
class SoftmaxSampleRequest:
    """Requests the softmax of a share of the voxels of each class.

    Attributes:
        rates: (k,) share of each class's voxels.
    """

    kind: ClassVar[type[Statistic]] = SoftmaxSample
    rates: tuple[float, ...]

    def start(self, context: PassContext) -> SoftmaxSample:
        """An empty sample."""
        return SoftmaxSample(self.rates)
