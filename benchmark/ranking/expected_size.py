"""The expected size of a case as a source sees it, and its windows, from what reading its files once has shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import log, prod

import numpy as np
from numpy.typing import NDArray

from benchmark.data.preprocessing.preparation import Preparation, stored_axes
from benchmark.data.tasks.checking import BLOCK, CheckedCase
from benchmark.features.window_selection import WindowPolicy
from benchmark.features.windows import Grid

AS_READ = (0, 1, 2)


@dataclass(frozen=True)
class ExpectedCase:
    """A case as a source sees it.

    Attributes:
        voxels: Of the prepared volume.
        windows: Number of windows that are forwarded.
        owned: Voxels of the case that these windows own.
    """

    voxels: int
    windows: int
    owned: int


@dataclass(frozen=True)
class ExpectedShapes:
    """The shapes of prepared cases.

    Attributes:
        preparation: How they are prepared.
        axes: Axes of the files, as `CheckedCase` has them, in the network's order.
        ratios: (3,) known shape of one case, over what the spacing leads to: a crop makes volumes smaller.
    """

    preparation: Preparation
    axes: tuple[int, ...]
    ratios: tuple[float, ...]

    @classmethod
    def planned(cls, preparation: Preparation, case: CheckedCase) -> "ExpectedShapes":
        """The shapes under a preparation, without its crop, for cases with the axes of one case."""
        named = preparation.transpose
        if named is not None and case.shape[0] > 1:
            named = tuple(2 - axis for axis in named)
        return cls(preparation, named or AS_READ, (1.0, 1.0, 1.0))

    @classmethod
    def of(cls, preparation: Preparation, case: CheckedCase, shape: Sequence[int]) -> "ExpectedShapes":
        """The shapes under a preparation that made a case of a known (3,) shape.

        The case is checked with the axes (X, Y, Z), or (1, Y, X). Voxels that are stored as prepared have them as read.
        """
        choices = [cls.planned(preparation, case), cls(preparation, AS_READ, (1.0, 1.0, 1.0))]

        def error(choice: "ExpectedShapes") -> float:
            return sum(abs(log(side / known)) for side, known in zip(choice.shape(case), shape, strict=True))

        best = min(choices, key=error)
        ratios = (known / side for side, known in zip(best.shape(case), shape, strict=True))
        return cls(preparation, best.axes, tuple(ratios))

    def axes_of(self, case: CheckedCase) -> tuple[int, ...]:
        """The axes of a case, as it is stored, in the network's order; of a volume also after it is reoriented."""
        is_volume = case.shape[0] > 1
        stored = stored_axes(case.directions if is_volume else "", self.preparation.orientation)
        return tuple(stored[axis] for axis in self.axes)

    def shape(self, case: CheckedCase) -> tuple[int, ...]:
        """The expected (3,) shape of a case."""
        axes = self.axes_of(case)
        stored = [case.spacing[axis] for axis in axes]
        planned = self.preparation.spacing or ()
        spacing = [*stored[: 3 - len(planned)], *planned]
        sides = (case.shape[axis] * old / new for axis, old, new in zip(axes, stored, spacing, strict=True))
        return tuple(max(round(side * ratio), 1) for side, ratio in zip(sides, self.ratios, strict=True))

    def case(self, case: CheckedCase, *, window: Sequence[int], overlap: float, policy: WindowPolicy) -> ExpectedCase:
        """The expected size of a case, with the windows that are forwarded.

        Example:
            >>> from benchmark.data.files.cases import Case
            >>> import torch
            >>> labels = torch.zeros(32, 8, 8, dtype=torch.uint8)
            >>> labels[30:] = 1
            >>> checked = CheckedCase.of(Case("a", labels[None].float(), labels, (1.0, 1.0, 1.0)))
            >>> shapes = ExpectedShapes(Preparation(spacing=(0.5, 1.0, 1.0)), (0, 1, 2), (1.0, 1.0, 1.0))
            >>> shapes.case(checked, window=(16, 8, 8), overlap=0.0, policy="foreground")
            ExpectedCase(voxels=4096, windows=1, owned=1024)
        """
        shape, stored = self.shape(case), self.axes_of(case)
        axes = [Grid((side,), (width,), overlap).places for side, width in zip(shape, window, strict=True)]
        chosen = np.ones([len(places) for places in axes], dtype=bool)
        if policy == "foreground":
            marked = case.blocks.transpose(stored)  # a flip is left out: it moves windows by less than one
            for axis, places in enumerate(axes):
                blocks = case.shape[stored[axis]] / shape[axis] / BLOCK  # to a voxel of the prepared case
                ends = [(place.start[0] * blocks, (place.start[0] + place.shape[0]) * blocks) for place in places]
                parts = [_part(marked, axis, int(low), int(np.ceil(high))) for low, high in ends]
                marked = np.stack(parts, axis=axis)
            chosen = marked if marked.any() else chosen
        sides = [np.array([place.shape[0] for place in places]) for places in axes]
        owned = reduce(np.multiply.outer, sides)
        return ExpectedCase(prod(shape), int(chosen.sum()), int(owned[chosen].sum()))


def _part(marked: NDArray[np.bool_], axis: int, low: int, high: int) -> NDArray[np.bool_]:
    """Whether any of the blocks low .. high - 1 along an axis is marked."""
    low = min(low, marked.shape[axis] - 1)
    taken = marked.take(range(low, max(min(high, marked.shape[axis]), low + 1)), axis=axis)
    return np.asarray(taken.any(axis=axis))
