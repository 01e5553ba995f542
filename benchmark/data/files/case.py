"""A labelled volume of a task, as all later stages use it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One labelled volume.

    Attributes:
        name: The case's name, unique within its task.
        image: (c, D, H, W) float32, normalised intensities.
        labels: (D, H, W) uint8, 0 is background, 1 .. k-1 are the classes, IGNORED (255) is not annotated.
        spacing: (3,) mm, in the array's axis order.
    """

    name: str
    image: Tensor
    labels: Tensor
    spacing: tuple[float, ...]
