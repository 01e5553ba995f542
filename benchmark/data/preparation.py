"""How a stored volume becomes what a network sees: intensities and spacing, by the target's plan or by the source's."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from benchmark.data.normalise import Normalisation
from benchmark.errors import InputError

FOLLOW = ("source", "target")


@dataclass(frozen=True)
class Preparation:
    """What is done to a stored volume before a network sees it.

    Attributes:
        normalisation: How intensities become the network's input.
        spacing: (3,) mm that volumes are resampled to, in the array's axis order; None: as stored.
    """

    normalisation: Normalisation = field(default_factory=Normalisation)
    spacing: tuple[float, ...] | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """Prepare an image of shape (c, D, H, W), float32."""
        return self.normalisation(image)


def follow(
    source: Preparation | None, target: Preparation, *, intensities: str = "target", spacing: str = "target"
) -> Preparation:
    """The preparation of a pair: each part from the source's plan or from the target's.

    Args:
        source: The source's own preparation; None where it is not known, and the target's is taken.
        target: The target's own preparation.
        intensities: "source" or "target".
        spacing: "source" or "target".

    Raises:
        InputError: A choice is none of these.
    """
    for name, choice in (("intensities", intensities), ("spacing", spacing)):
        _check(name, choice, FOLLOW)
    known = source or target
    return Preparation(
        (known if intensities == "source" else target).normalisation,
        (known if spacing == "source" else target).spacing,
    )


def _check(name: str, choice: str, choices: Sequence[str]) -> None:
    if choice not in choices:
        raise InputError(f"preparation.{name} must be one of {', '.join(choices)}, got {choice}")
