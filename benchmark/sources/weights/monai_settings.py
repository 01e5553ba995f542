"""Infer the settings of MONAI's networks from a state dict: one function per class. MONAI 1.6.1.

Settings that names and shapes do not show are listed under `assumed`.
"""

import math
import re
from itertools import product

import torch
from torch import Tensor, nn

from benchmark.sources.weights.family import LATEST, Reading, Settings, Tensors
from benchmark.sources.weights.layer_settings import (
    NO_AFFINE,
    kernel_sides,
    norm_setting,
    numbers,
    upsampling,
    with_slope,
)

LEAKY = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})
GROUPS = 8  # groups of SegResNet's default norm
PATCH = 16  # voxels of a token along each axis of UNETR
HEAD = 64  # channels of an attention head, as in every ViT of the paper
WINDOW = 16  # largest side of an attention window that is tried


def read_dynunet(tensors: Tensors) -> Reading:
    """DynUNet: strides equal the kernels of the transposed convolutions, as its skip connections require."""
    blocks = ["input_block", *(f"downsamples.{i}" for i in numbers(tensors, r"downsamples\.(\d+)\.")), "bottleneck"]
    convs = [tensors[f"{block}.conv1.conv.weight"] for block in blocks]
    ups = [tensors[f"upsamples.{i}.transp_conv.conv.weight"] for i in range(len(blocks) - 1)]
    rises = [kernel_sides(weight) for weight in reversed(ups)]
    shown = {
        "spatial_dims": convs[0].ndim - 2,
        "kernel_size": [kernel_sides(weight) for weight in convs],
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
    return with_slope(tensors, Reading(shown, assumed), "act_name", r"input_block\.lrelu", LEAKY)


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
    ups = [f"{level}.2.0.conv.weight" if units else f"{level}.2.conv.weight" for level, _ in levels]
    adn = "model.0.conv.unit0.adn" if units else "model.0.adn"
    shown = {
        "spatial_dims": top.ndim - 2,
        "channels": [*(len(tensors[name]) for _, name in levels), len(bottom)],
        "num_res_units": len(units),
        "kernel_size": kernel_sides(top),
        "up_kernel_size": kernel_sides([tensors[name] for name in ups if name in tensors][-1]),
        "bias": re.sub("weight$", "bias", levels[0][1]) in tensors,
    }
    assumed = {
        "strides": [_unet_stride(tensors, level, len(units)) for level, _ in levels],
        "norm": norm_setting(tensors, f"{adn}.N"),
        "dropout": 0.0,
        "adn_ordering": "NDA",
    }
    return with_slope(tensors, Reading(shown, assumed), "act", r".*\.adn\.A", "relu")


def _unet_stride(tensors: Tensors, level: str, units: int) -> int:
    if not units:
        return 2
    residual = tensors.get(f"{level}.0.residual.weight")
    if residual is None:
        return 1
    return (
        1
        if set(kernel_sides(residual)) == {1} != set(kernel_sides(tensors[f"{level}.0.conv.unit0.conv.weight"]))
        else 2
    )


def read_segresnet(tensors: Tensors) -> Reading:
    """SegResNet: its default is group norm, which has the same tensors as any affine norm."""
    filters = len(tensors["convInit.conv.weight"])
    groups = ("group", {"num_groups": math.gcd(filters, GROUPS)})
    first_block = next(iter(numbers(tensors, r"down_layers\.(\d+)\.\d+\.conv1\.")), 0)  # the first level with a norm
    shown = {
        "spatial_dims": tensors["convInit.conv.weight"].ndim - 2,
        "init_filters": filters,
        "blocks_down": _blocks(tensors, "down_layers", 1 + max(numbers(tensors, r"down_layers\.(\d+)\."))),
        "blocks_up": _blocks(tensors, "up_layers", 1 + max(numbers(tensors, r"up_samples\.(\d+)\."))),
        "upsample_mode": upsampling(tensors, r"up_samples\.0\.1"),
    }
    assumed = {
        "norm": norm_setting(tensors, f"down_layers.{first_block}.1.norm1", affine=groups),
        "dropout_prob": None,
        "use_conv_final": True,
    }
    return with_slope(tensors, Reading(shown, assumed), "act", r"act_mod", ("RELU", {"inplace": True}))


def _blocks(tensors: Tensors, part: str, levels: int) -> list[int]:
    return [len(numbers(tensors, rf"{part}\.{level}\.(\d+)\.conv1\.")) for level in range(levels)]


def read_basic_unet(tensors: Tensors) -> Reading:
    """BasicUNet."""
    first, last = tensors["conv_0.conv_0.conv.weight"], tensors["upcat_1.convs.conv_1.conv.weight"]
    downs = [len(tensors[f"down_{i}.convs.conv_0.conv.weight"]) for i in range(1, 5)]
    shown = {
        "spatial_dims": first.ndim - 2,
        "features": [len(first), *downs, len(last)],
        "bias": "conv_0.conv_0.conv.bias" in tensors,
        "upsample": upsampling(tensors, r"upcat_4\.upsample"),
    }
    assumed = {"norm": norm_setting(tensors, "conv_0.conv_0.adn.N", bare=NO_AFFINE), "dropout": 0.0}
    leaky = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
    return with_slope(tensors, Reading(shown, assumed), "act", r".*\.adn\.A", leaky)


def read_vnet(tensors: Tensors) -> Reading:
    """VNet: its norm is batch norm; a PReLU given by name only has one slope per channel, otherwise one slope."""
    conv = tensors["in_tr.conv_block.conv.weight"]
    shown = {"spatial_dims": conv.ndim - 2, "bias": "in_tr.conv_block.conv.bias" in tensors}
    assumed = {"dropout_prob_down": 0.5, "dropout_prob_up": (0.5, 0.5), "dropout_dim": 3}
    return with_slope(tensors, Reading(shown, assumed), "act", r".*act_function\d?", ("elu", {"inplace": True}))


def read_unetr(tensors: Tensors) -> Reading:
    """UNETR: the number of tokens shows the volume of the patch, not its sides; a cube is assumed."""
    _, tokens, hidden = tensors["vit.patch_embedding.position_embeddings"].shape
    dims = tensors["encoder1.layer.conv1.conv.weight"].ndim - 2
    side = round(tokens ** (1 / dims))
    shown: Settings = {
        "spatial_dims": dims,
        "feature_size": len(tensors["encoder1.layer.conv1.conv.weight"]),
        "hidden_size": hidden,
        "mlp_dim": len(tensors["vit.blocks.0.mlp.linear1.weight"]),
        "proj_type": "conv" if "vit.patch_embedding.patch_embeddings.weight" in tensors else "perceptron",
        "res_block": "decoder5.conv_block.conv3.conv.weight" in tensors,
        "conv_block": "encoder2.blocks.0.1.conv1.conv.weight" in tensors,
        "qkv_bias": "vit.blocks.0.attn.qkv.bias" in tensors,
    }
    assumed: Settings = {
        "img_size": [PATCH * side] * dims if side**dims == tokens else None,
        "num_heads": hidden // HEAD if hidden % HEAD == 0 else None,
        "norm_name": norm_setting(tensors, "encoder1.layer.norm1"),
        "dropout_rate": 0.0,
    }
    return Reading(shown, assumed)


def read_swin_unetr(tensors: Tensors) -> Reading:
    """SwinUNETR: in 3D no tensor shows which slices its patch merging takes (`swin_merging`)."""
    proj = tensors["swinViT.patch_embed.proj.weight"]
    dims, width = proj.ndim - 2, len(proj)
    stages = [f"swinViT.layers{i}.0" for i in range(1, 5)]
    hidden = len(tensors[f"{stages[-1]}.blocks.0.mlp.linear1.weight"])
    patch = list(proj.shape[2:])
    shown: Settings = {
        "spatial_dims": dims,
        "feature_size": width,
        "patch_size": patch[0] if len(set(patch)) == 1 else patch,
        "depths": [len(numbers(tensors, rf"{stage}\.blocks\.(\d+)\.")) for stage in stages],
        "num_heads": [tensors[f"{stage}.blocks.0.attn.relative_position_bias_table"].shape[1] for stage in stages],
        "window_size": _window(tensors, f"{stages[0]}.blocks.0.attn", dims),
        "mlp_ratio": hidden / (8 * width),
        "use_v2": any(name.startswith("swinViT.layers1c.") for name in tensors),
        "qkv_bias": f"{stages[0]}.blocks.0.attn.qkv.bias" in tensors,
        "patch_norm": "swinViT.patch_embed.norm.weight" in tensors,
    }
    assumed: Settings = {
        "norm_name": norm_setting(tensors, "encoder1.layer.norm1"),
        "norm_layer": nn.LayerNorm,
        "normalize": True,
        "drop_rate": 0.0,
        "attn_drop_rate": 0.0,
        "dropout_path_rate": 0.0,
    }
    return Reading(shown, assumed | ({"merging": LATEST} if dims == 3 else {}))


def _window(tensors: Tensors, attention: str, dims: int) -> list[int]:
    """The sides of the attention window, from the table of relative positions and its index."""
    rows = len(tensors[f"{attention}.relative_position_bias_table"])
    index = tensors[f"{attention}.relative_position_index"]
    for window in product(range(1, WINDOW + 1), repeat=dims):
        if math.prod(window) == len(index) and math.prod(2 * n - 1 for n in window) == rows and _indexes(index, window):
            return list(window)
    raise ValueError(f"a window whose relative positions are {attention}.relative_position_index")


def _indexes(index: Tensor, window: tuple[int, ...]) -> bool:
    """Whether the first row of the index matches a window of these sides."""
    steps = [math.prod(2 * n - 1 for n in window[axis + 1 :]) for axis in range(len(window))]
    places = torch.cartesian_prod(*(torch.arange(n) for n in window)).reshape(-1, len(window))
    first = sum((n - 1 - places[:, axis]) * step for axis, (n, step) in enumerate(zip(window, steps, strict=True)))
    return bool(torch.equal(torch.as_tensor(first), index[0].long().cpu()))
