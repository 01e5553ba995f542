"""ExpectedPrediction: sums of functions of the expected empirical prediction, for estimates that look twice.

    e_ic = sum_z P(c given z) p_iz    for voxel i and target class c, p the source's softmax

P(c given z) comes from the complete joint of labels and predictions, so these sums are taken in a second look at the
softmax: from where it is stored, or in a second forward pass.

Reference: Nguyen, Hassner, Seeger, Archambeau, ICML 2020, arXiv 2002.12462 (the expected empirical prediction).
"""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import torch
from torch import Tensor

from benchmark.statistics.protocol import Array, OwnedWindow, PassContext, Request, Statistic, check_mergeable
from benchmark.statistics.softmax import SoftmaxRows
from benchmark.storage.files import read_json, read_tensors, write_json, write_tensors

# Floor of the true class's expected prediction, so that underflow of half precision does not give log 0
FLOOR = torch.finfo(torch.float64).tiny


class ExpectedPrediction(Statistic):
    """Sums over the voxels of each of k target classes.

    Args:
        classes: (k,) labels; voxels of other labels are left out.
        conditional: (k, z) P(c given z) of the classes, in their order.

    Attributes:
        count: (k,) int64, number of voxels.
        log_sum: (k,) float64, sum of the log of the true class's expected prediction.
        confusion: (k, k) int64, voxels of each class by the place of the largest expected prediction (the first of
            several).

    Example:
        >>> sums = ExpectedPrediction((0, 1), ((1.0, 0.5), (0.0, 0.5)))
        >>> sums.add(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 0]))
        >>> sums.log_sum.exp().tolist(), sums.confusion.tolist()
        ([1.0, 0.5], [[1, 0], [1, 0]])
    """

    settings = ("classes", "conditional")

    def __init__(self, classes: Iterable[int], conditional: Iterable[Iterable[float]]) -> None:
        self.classes = tuple(classes)
        self.conditional = tuple(map(tuple, conditional))
        k = len(self.classes)
        self.count = torch.zeros(k, dtype=torch.int64)
        self.log_sum = torch.zeros(k, dtype=torch.float64)
        self.confusion = torch.zeros(k, k, dtype=torch.int64)
        self._weights = torch.tensor(self.conditional, dtype=torch.float64).T.contiguous()  # (z, k)

    def add(self, softmax: Array, labels: Array) -> None:
        """Add voxels.

        Args:
            softmax: (n, z) source probabilities, numpy or torch.
            labels: (n,) integers.
        """
        rows = torch.as_tensor(softmax)
        targets = torch.as_tensor(labels, device=rows.device)
        expected = rows.double() @ self._weights.to(rows.device)
        best = expected.argmax(dim=1)
        k = len(self.classes)
        for place, label in enumerate(self.classes):
            mine = torch.nonzero(targets == label).squeeze(1)
            self.count[place] += len(mine)
            self.log_sum[place] += expected[mine, place].clamp(min=FLOOR).log().sum().cpu()
            self.confusion[place] += torch.bincount(best[mine], minlength=k).cpu()

    def update(self, window: OwnedWindow) -> None:
        """Add all voxels that a window owns, except ignored ones."""
        for softmax, labels in window.predictions():
            self.add(softmax, labels)

    def merge(self, other: Self) -> Self:
        """Add the sums of other voxels.

        Raises:
            ValueError: if the classes or the conditional probabilities differ.
        """
        check_mergeable(self, other, self.settings)
        merged = copy(self)
        merged._set(*(mine + theirs for mine, theirs in zip(self._sums(), other._sums(), strict=True)))
        return merged

    def save(self, folder: Path) -> None:
        """Write the sums and the settings."""
        names = ("count", "log_sum", "confusion")
        write_tensors(folder / "expected_prediction.safetensors", dict(zip(names, self._sums(), strict=True)))
        write_json(folder / "expected_prediction.json", self._values())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        sums = cls(**read_json(folder / "expected_prediction.json"))
        tensors = read_tensors(folder / "expected_prediction.safetensors")
        sums._set(tensors["count"], tensors["log_sum"], tensors["confusion"])
        return sums

    def _sums(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.count, self.log_sum, self.confusion

    def _set(self, count: Tensor, log_sum: Tensor, confusion: Tensor) -> None:
        self.count, self.log_sum, self.confusion = count, log_sum, confusion


@dataclass(frozen=True)
class ExpectedPredictionRequest:
    """Requests the sums for these conditional probabilities, in a second look; arguments as in `ExpectedPrediction`."""

    kind: ClassVar[type[Statistic]] = ExpectedPrediction
    classes: tuple[int, ...]
    conditional: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "conditional", tuple(map(tuple, self.conditional)))  # as read from JSON: lists

    def start(self, context: PassContext) -> ExpectedPrediction:
        """Sums over no voxels."""
        return ExpectedPrediction(self.classes, self.conditional)


def read_again(rows: Iterable[SoftmaxRows], requests: Iterable[ExpectedPredictionRequest]) -> dict[Request, Statistic]:
    """The sums of several requests from one reading of stored softmax."""
    sums = {request: ExpectedPrediction(request.classes, request.conditional) for request in requests}
    for block in rows:
        for own in sums.values():
            own.add(block.softmax, block.labels)
    return dict(sums.items())
