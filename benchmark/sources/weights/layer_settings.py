"""Norms and activations read off the tensors of a state dict: what a tensor shows is followed, the rest is assumed.

A norm layer has `weight` and `bias` where it is affine, and `running_mean` where it keeps statistics; an activation has
a tensor only if its slope is learned. Instance norm and group norm have the same tensors, and so have all other
activations: none. Those are for the caller to assume and to say so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Tensors = Mapping[str, Tensor]
Settings = dict[str, Any]

NO_AFFINE = ("instance", {"affine": False})
AFFINE = ("instance", {"affine": True})


@dataclass(frozen=True)
class Reading:
    """What the tensors of a network say of its settings.

    Attributes:
        shown: Settings that names and shapes show.
        assumed: Settings that no tensor shows -> the value taken; None where there is no value to take.
    """

    shown: Settings
    assumed: Settings = field(default_factory=dict)


def norm_setting(tensors: Tensors, layer: str, *, affine: Any = AFFINE, bare: Any = NO_AFFINE) -> Any:
    """The `norm` argument of a MONAI network.

    Args:
        tensors: The state dict.
        layer: The name of one norm layer of it.
        affine: What to take for a norm with weights and without running statistics.
        bare: What to take for a norm without any tensor.

    Example:
        >>> import torch
        >>> norm_setting({"norm1.weight": torch.ones(4), "norm1.running_mean": torch.zeros(4)}, "norm1")
        ('batch', {'affine': True})
    """
    has_weight = f"{layer}.weight" in tensors
    if f"{layer}.running_mean" in tensors:
        return ("batch", {"affine": has_weight})
    return affine if has_weight else bare


def slope_setting(tensors: Tensors, layer: str) -> Any:
    """The `act` argument of a MONAI network whose activation learns its slope; None where no tensor shows one.

    Args:
        tensors: The state dict.
        layer: A regular expression of the names of its activation layers.
    """
    sizes = {tensor.numel() for name, tensor in tensors.items() if re.fullmatch(rf"{layer}\.weight", name)}
    if not sizes:
        return None
    return ("prelu", {"num_parameters": sizes.pop()}) if len(sizes) == 1 else "prelu"


def sides(tensor: Tensor) -> list[int]:
    """The kernel of a convolution's weights, along each axis."""
    return list(tensor.shape[2:])


def numbers(tensors: Tensors, pattern: str) -> list[int]:
    """The different numbers that names hold at the pattern's group, in order."""
    return sorted({int(match[1]) for name in tensors if (match := re.match(pattern, name))})
