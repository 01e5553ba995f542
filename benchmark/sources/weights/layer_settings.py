"""Settings of a layer of MONAI's networks from the names and shapes of its tensors.

A norm layer has `weight` and `bias` if it is affine, and `running_mean` if it keeps statistics; an activation has a
tensor only if its slope is learned. Instance norm and group norm have the same tensors, and all other activations have
none.
"""

import re
from dataclasses import replace

from torch import Tensor

from benchmark.sources.weights.family import Reading, Tensors

NO_AFFINE = ("instance", {"affine": False})
AFFINE = ("instance", {"affine": True})


def norm_setting(tensors: Tensors, layer: str, *, affine: object = AFFINE, bare: object = NO_AFFINE) -> object:
    """The `norm` argument, from the name of a norm layer.

    Args:
        tensors: The state dict.
        layer: The layer.
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


def kernel_sides(tensor: Tensor) -> list[int]:
    """The kernel size of a convolution's weights, along each axis."""
    return list(tensor.shape[2:])


def numbers(tensors: Tensors, pattern: str) -> list[int]:
    """The distinct numbers that the pattern's group matches in the names, in order."""
    return sorted({int(match[1]) for name in tensors if (match := re.match(pattern, name))})


def upsampling(tensors: Tensors, layer: str) -> str:
    """The `upsample` argument, from the name of an upsampling layer as a regular expression."""
    known = ("deconv", "deconvgroup", "pixelshuffle")
    modes = (mode for mode in known if any(re.match(rf"{layer}\.{mode}\.", name) for name in tensors))
    return next(modes, "nontrainable")


def with_slope(tensors: Tensors, reading: Reading, setting: str, layers: str, default: object) -> Reading:
    """Add the activation: shown if the layers, a regular expression, have learned slopes, else the class's default."""
    sizes = {tensor.numel() for name, tensor in tensors.items() if re.fullmatch(rf"{layers}\.weight", name)}
    if not sizes:
        return replace(reading, assumed=reading.assumed | {setting: default})
    slope = ("prelu", {"num_parameters": sizes.pop()}) if len(sizes) == 1 else "prelu"
    return replace(reading, shown=reading.shown | {setting: slope})
