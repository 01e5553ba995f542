"""LayerSamples: sampled features of one layer by case, the input of CC-FV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[Any] | Tensor


@dataclass(frozen=True)
class LayerSamples:
    """Features of one layer at sampled voxels; both sequences list the same cases in the same order.

    Attributes:
        classes: for each case, (n, d) features by label; may include class 0, the background.
        scenes: for each case, (n, d) features at voxels of the whole image.

    Example:
        >>> import torch
        >>> cases = [{1: torch.zeros(5, 8)}, {1: torch.zeros(4, 8)}]
        >>> layer = LayerSamples(classes=cases, scenes=[torch.zeros(9, 8)] * 2)
        >>> layer.foreground
        (1,)
        >>> LayerSamples(classes=[{}], scenes=[])
        Traceback (most recent call last):
        ValueError: `scenes` must have as many cases as `classes`, 1, got 0
    """

    classes: Sequence[Mapping[int, Array]]
    scenes: Sequence[Array]

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.scenes):
            raise ValueError(
                f"`scenes` must have as many cases as `classes`, {len(self.classes)}, got {len(self.scenes)}"
            )

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return len(self.classes)

    @property
    def foreground(self) -> tuple[int, ...]:
        """Labels above 0 that occur in any case, sorted."""
        return tuple(sorted({label for case in self.classes for label in case if label > 0}))
