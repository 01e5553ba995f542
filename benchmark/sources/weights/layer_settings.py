"""Infer norms and activations from the tensors of a state dict.

A norm layer has `weight` and `bias` if it is affine, and `running_mean` if it keeps statistics; an activation has a
tensor only if its slope is learned. Instance norm and group norm have the same tensors, and all other activations have
none. The caller must assume these and list them as assumed.
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
    """A network's settings, inferred from its tensors.

    Attributes:
        shown: Settings that names and shapes show.
        assumed: Settings that no tensor shows -> the assumed value; None if there is none.
    """

    shown: Settings
    assumed: Settings = field(default_factory=dict)


def norm_setting(tensors: Tensors, layer: str, *, affine: Any = AFFINE, bare: Any = NO_AFFINE) -> Any:
    """The `norm` argument of a MONAI network.

    Args:
        tensors: The state dict.
        layer: The name of a norm layer.
        affine: The setting of a norm with weights and without running statistics.
        bare: The setting of a norm without tensors.

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
    """The `act` argument of a MONAI network whose activation learns its slope; None if it has no such tensor.

    Args:
        tensors: The state dict.
        layer: A regular expression for the names of the activation layers.
    """
    sizes = {tensor.numel() for name, tensor in tensors.items() if re.fullmatch(rf"{layer}\.weight", name)}
    if not sizes:
        return None
    return ("prelu", {"num_parameters": sizes.pop()}) if len(sizes) == 1 else "prelu"


def sides(tensor: Tensor) -> list[int]:
    """The kernel size of a convolution's weights, along each axis."""
    return list(tensor.shape[2:])


def numbers(tensors: Tensors, pattern: str) -> list[int]:
    """The distinct numbers that the pattern's group matches in the names, in order."""
    return sorted({int(match[1]) for name in tensors if (match := re.match(pattern, name))})
