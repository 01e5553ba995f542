"""Infer the settings of MONAI's convolutional networks from a state dict: one function per class.

Settings that names and shapes do not show are listed under `assumed`. MONAI 1.6.1.
"""

import math
import re

from benchmark.sources.weights.layer_settings import (
    NO_AFFINE,
    Reading,
    Settings,
    Tensors,
    norm_setting,
    numbers,
    sides,
    slope_setting,
)

LEAKY = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
GROUPS = 8  # groups of SegResNet's default norm


def read_dynunet(tensors: Tensors) -> Reading:
    """DynUNet: strides equal the kernels of the transposed convolutions, as its skip connections require."""
    blocks = ["input_block", *(f"downsamples.{i}" for i in numbers(tensors, r"downsamples\.(\d+)\.")), "bottleneck"]
    convs = [tensors[f"{block}.conv1.conv.weight"] for block in blocks]
    ups = [tensors[f"upsamples.{i}.transp_conv.conv.weight"] for i in range(len(blocks) - 1)]
    rises = [sides(weight) for weight in reversed(ups)]
    slope = slope_setting(tensors, r"input_block\.lrelu")
    shown = {
        "spatial_dims": convs[0].ndim - 2,
        "kernel_size": [sides(weight) for weight in convs],
        "upsample_kernel_size": rises,
        "filters": [len(weight) for weight in convs],
        "trans_bias": "upsamples.0.transp_conv.conv.bias" in tensors,
    }
    assumed = {
        "strides": [[1] * len(rises[0]), *rises],
        "norm_name": norm_setting(tensors, "input_block.norm1"),
        "dropout": None,
    }
    has_residuals = any(f"{block}.conv3.conv.weight" in tensors for block in blocks)
    would_show = any(len(weight) != weight.shape[1] for weight in convs) or any(max(rise) > 1 for rise in rises)
    (shown if has_residuals or would_show else assumed)["res_block"] = has_residuals
    return _with_slope(shown, assumed, "act_name", slope, LEAKY)


def read_unet(tensors: Tensors) -> Reading:
    """UNet: a stride of 1 shows in the kernel of 1 of a residual unit; other strides are assumed to be 2."""
    levels, at = [], "model"
    while True:
        units = numbers(tensors, rf"{at}\.0\.conv\.unit(\d+)\.")
        first = f"{at}.0.conv.unit0.conv.weight" if units else f"{at}.0.conv.weight"
        if first not in tensors:
            break
        levels.append((at, first))
        at = f"{at}.1.submodule"
    units = numbers(tensors, r"model\.0\.conv\.unit(\d+)\.")
    bottom = tensors[f"{at}.conv.unit0.conv.weight" if units else f"{at}.conv.weight"]
    top = tensors[levels[0][1]]
    ups = [tensors[name] for level, _ in levels
           if (name := f"{level}.2.0.conv.weight" if units else f"{level}.2.conv.weight") in tensors]  # fmt: skip
    adn = "model.0.conv.unit0.adn" if units else "model.0.adn"
    slope = slope_setting(tensors, r".*\.adn\.A")
    shown = {
        "spatial_dims": top.ndim - 2,
        "channels": [*(len(tensors[name]) for _, name in levels), len(bottom)],
        "num_res_units": len(units),
        "kernel_size": sides(top),
        "up_kernel_size": sides(ups[-1]),
        "bias": re.sub("weight$", "bias", levels[0][1]) in tensors,
    }
    assumed = {
        "strides": [_unet_stride(tensors, level, len(units)) for level, _ in levels],
        "norm": norm_setting(tensors, f"{adn}.N"),
        "dropout": 0.0,
        "adn_ordering": "NDA",
    }
    return _with_slope(shown, assumed, "act", slope, "relu")


def _unet_stride(tensors: Tensors, level: str, units: int) -> int:
    if not units:
        return 2
    residual = tensors.get(f"{level}.0.residual.weight")
    if residual is None:
        return 1
    first = tensors[f"{level}.0.conv.unit0.conv.weight"]
    return 1 if set(sides(residual)) == {1} != set(sides(first)) else 2


def read_segresnet(tensors: Tensors) -> Reading:
    """SegResNet: its default is group norm, which has the same tensors as any affine norm."""
    filters = len(tensors["convInit.conv.weight"])
    groups = ("group", {"num_groups": math.gcd(filters, GROUPS)})
    slope = slope_setting(tensors, r"act_mod")
    shown = {
        "spatial_dims": tensors["convInit.conv.weight"].ndim - 2,
        "init_filters": filters,
        "blocks_down": _blocks(tensors, "down_layers", 1 + max(numbers(tensors, r"down_layers\.(\d+)\."))),
        "blocks_up": _blocks(tensors, "up_layers", 1 + max(numbers(tensors, r"up_samples\.(\d+)\."))),
        "upsample_mode": _upsampling(tensors, r"up_samples\.0\.1"),
    }
    assumed = {
        "norm": norm_setting(tensors, f"down_layers.{_first_block(tensors)}.1.norm1", affine=groups),
        "dropout_prob": None,
        "use_conv_final": True,
    }
    return _with_slope(shown, assumed, "act", slope, ("RELU", {"inplace": True}))


def _first_block(tensors: Tensors) -> int:
    """The first level that has a residual block, and so a norm."""
    return next(iter(numbers(tensors, r"down_layers\.(\d+)\.\d+\.conv1\.")), 0)


def _blocks(tensors: Tensors, part: str, levels: int) -> list[int]:
    return [len(numbers(tensors, rf"{part}\.{level}\.(\d+)\.conv1\.")) for level in range(levels)]


def read_basic_unet(tensors: Tensors) -> Reading:
    """BasicUNet."""
    first, last = tensors["conv_0.conv_0.conv.weight"], tensors["upcat_1.convs.conv_1.conv.weight"]
    downs = [len(tensors[f"down_{i}.convs.conv_0.conv.weight"]) for i in range(1, 5)]
    slope = slope_setting(tensors, r".*\.adn\.A")
    shown = {
        "spatial_dims": first.ndim - 2,
        "features": [len(first), *downs, len(last)],
        "bias": "conv_0.conv_0.conv.bias" in tensors,
        "upsample": _upsampling(tensors, r"upcat_4\.upsample"),
    }
    assumed = {"norm": norm_setting(tensors, "conv_0.conv_0.adn.N", bare=NO_AFFINE), "dropout": 0.0}
    return _with_slope(shown, assumed, "act", slope, ("LeakyReLU", {"negative_slope": 0.1, "inplace": True}))


def read_vnet(tensors: Tensors) -> Reading:
    """VNet: its norm is batch norm; a PReLU given by name only has one slope per channel, otherwise one slope."""
    conv = tensors["in_tr.conv_block.conv.weight"]
    slope = slope_setting(tensors, r".*act_function\d?")
    shown = {"spatial_dims": conv.ndim - 2, "bias": "in_tr.conv_block.conv.bias" in tensors}
    assumed = {"dropout_prob_down": 0.5, "dropout_prob_up": (0.5, 0.5), "dropout_dim": 3}
    return _with_slope(shown, assumed, "act", slope, ("elu", {"inplace": True}))


def _upsampling(tensors: Tensors, layer: str) -> str:
    """The mode of upsampling, from the name of its module."""
    modes = [mode for mode in ("deconv", "deconvgroup", "pixelshuffle")
             if any(re.match(rf"{layer}\.{mode}\.", name) for name in tensors)]  # fmt: skip
    return modes[0] if modes else "nontrainable"


def _with_slope(shown: Settings, assumed: Settings, name: str, slope: object, default: object) -> Reading:
    """Add the activation: shown if its slope is a tensor, else assumed to be the class's default."""
    if slope is not None:
        return Reading(shown | {name: slope}, assumed)
    return Reading(shown, assumed | {name: default})
