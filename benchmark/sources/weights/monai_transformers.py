"""Infer the settings of MONAI's networks with a transformer encoder from a state dict. MONAI 1.6.1."""

from itertools import product
from math import prod

import torch
from torch import nn

from benchmark.sources.weights.layer_settings import Reading, Settings, Tensors, norm_setting, numbers
from benchmark.sources.weights.swin_merging import LATEST

PATCH = 16  # voxels of a token along each axis of UNETR
HEAD = 64  # channels of an attention head, as in every ViT of the paper
WINDOW = 16  # largest side of an attention window that is tried


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
        if prod(window) == len(index) and prod(2 * n - 1 for n in window) == rows and _indexes(index, window):
            return list(window)
    raise ValueError(f"a window whose relative positions are {attention}.relative_position_index")


def _indexes(index: torch.Tensor, window: tuple[int, ...]) -> bool:
    """Whether the first row of the index matches a window of these sides."""
    steps = [prod(2 * n - 1 for n in window[axis + 1 :]) for axis in range(len(window))]
    places = torch.cartesian_prod(*(torch.arange(n) for n in window)).reshape(-1, len(window))
    first = sum((n - 1 - places[:, axis]) * step for axis, (n, step) in enumerate(zip(window, steps, strict=True)))
    return bool(torch.equal(torch.as_tensor(first), index[0].long().cpu()))
