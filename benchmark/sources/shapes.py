"""Which of MONAI's networks a state dict is of, and the settings that its names and shapes tell."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Guess:
    """A network class and its settings.

    Attributes:
        network: The class's name in monai.networks.nets.
        settings: Its arguments but for in_channels and out_channels.
        assumed: Settings that no weight tells, with the value taken.
        dims: 3 or 2.
    """

    network: str
    settings: Settings
    assumed: Mapping[str, Any]
    dims: int


def guess(shapes: Shapes, *, source: str, given: Mapping[str, Any]) -> Guess:
    """Read the network's class and settings off names and shapes.

    Args:
        shapes: Tensor name -> shape; a prefix before all of them does not matter.
        source: The source's name, for errors.
        given: Settings that the user says; they win.

    Raises:
        InputError: No class that is known here has such names, or a setting is told by nothing.
    """
    for network, (mark, read) in NETWORKS.items():
        starts = [found[1] for name in shapes if (found := re.fullmatch(rf"((?:.+?\.)??){mark}", name))]
        if starts:
            start = min(starts, key=len)
            own = {name.removeprefix(start): shape for name, shape in shapes.items() if name.startswith(start)}
            try:
                told, assumed = read(own)
            except (KeyError, IndexError, ValueError) as error:
                raise InputError(
                    f"source {source}: the weights must be a whole {network}, got none of {error}"
                ) from error
            assumed = {name: value for name, value in assumed.items() if name not in given}
            lacking = [name for name, value in assumed.items() if value is None]
            if lacking:
                raise InputError(
                    f"source {source}: settings.{lacking[0]} of {network} must be given, no weight tells it"
                )
            return Guess(network, told | assumed | dict(given), assumed, told["spatial_dims"])
    known, first = ", ".join(NETWORKS), next(iter(shapes), "none")
    raise InputError(
        f"source {source}: the weights must be of {known}, got names such as {first}; "
        "name another network by arch= or use source=factory"
    )


def _kernel(shape: tuple[int, ...]) -> list[int]:
    return list(shape[2:])


def _numbered(shapes: Shapes, pattern: str) -> list[int]:
    """The different numbers that names hold at the pattern's group, in order."""
    return sorted({int(found[1]) for name in shapes if (found := re.match(pattern, name))})


def _dynunet(shapes: Shapes) -> tuple[Settings, Settings]:
    downs = _numbered(shapes, r"downsamples\.(\d+)\.")
    blocks = ["input_block", *(f"downsamples.{i}" for i in downs), "bottleneck"]
    convs = [shapes[f"{block}.conv1.conv.weight"] for block in blocks]
    ups = [shapes[f"upsamples.{i}.transp_conv.conv.weight"] for i in _numbered(shapes, r"upsamples\.(\d+)\.")]
    rises = [_kernel(shape) for shape in reversed(ups)]
    settings = {
        "spatial_dims": len(convs[0]) - 2,
        "kernel_size": [_kernel(shape) for shape in convs],
        "strides": [[1] * len(rises[0]), *rises],
        "upsample_kernel_size": rises,
        "filters": [shape[0] for shape in convs],
        "res_block": "bottleneck.conv3.conv.weight" in shapes,
        "trans_bias": "upsamples.0.transp_conv.conv.bias" in shapes,
    }
    if "input_block.norm1.running_mean" in shapes:
        settings["norm_name"] = "batch"
    return settings, {}


def _unet(shapes: Shapes) -> tuple[Settings, Settings]:
    channels, at = [], "model"
    while True:
        units = _numbered(shapes, rf"{at}\.0\.conv\.unit(\d+)\.")
        first = f"{at}.0.conv.unit0.conv.weight" if units else f"{at}.0.conv.weight"
        if first not in shapes:
            break
        channels.append(shapes[first][0])
        at = f"{at}.1.submodule"
    res = len(_numbered(shapes, r"model\.0\.conv\.unit(\d+)\."))
    bottom = shapes[f"{at}.conv.unit0.conv.weight" if res else f"{at}.conv.weight"]
    top = shapes["model.0.conv.unit0.conv.weight" if res else "model.0.conv.weight"]
    up = shapes["model.2.0.conv.weight" if res else "model.2.conv.weight"]
    settings = {
        "spatial_dims": len(top) - 2,
        "channels": [*channels, bottom[0]],
        "num_res_units": res,
        "kernel_size": _kernel(top),
        "up_kernel_size": _kernel(up),
        "norm": "batch" if any(name.endswith("adn.N.running_mean") for name in shapes) else "instance",
        "act": "prelu" if any(name.endswith("adn.A.weight") for name in shapes) else "relu",
        "bias": any(name.endswith("conv.bias") for name in shapes),
    }
    return settings, {"strides": [2] * len(channels)}


def _segresnet(shapes: Shapes) -> tuple[Settings, Settings]:
    def blocks(part: str, first: int) -> list[int]:
        levels = _numbered(shapes, rf"{part}\.(\d+)\.")
        return [len([i for i in _numbered(shapes, rf"{part}\.{level}\.(\d+)\.") if i >= first]) for level in levels]

    settings = {
        "spatial_dims": len(shapes["convInit.conv.weight"]) - 2,
        "init_filters": shapes["convInit.conv.weight"][0],
        "blocks_down": blocks("down_layers", 1),
        "blocks_up": blocks("up_layers", 0),
    }
    if any(re.match(r"up_samples\.0\.1\.deconv", name) for name in shapes):
        settings["upsample_mode"] = "deconv"
    return settings, {}


def _unetr(shapes: Shapes) -> tuple[Settings, Settings]:
    _, patches, hidden = shapes["vit.patch_embedding.position_embeddings"]
    dims = len(shapes["encoder1.layer.conv1.conv.weight"]) - 2
    side = round(patches ** (1 / dims))
    settings = {
        "spatial_dims": dims,
        "feature_size": shapes["encoder1.layer.conv1.conv.weight"][0],
        "hidden_size": hidden,
        "mlp_dim": shapes["vit.blocks.0.mlp.linear1.weight"][0],
        "proj_type": "conv" if "vit.patch_embedding.patch_embeddings.weight" in shapes else "perceptron",
        "res_block": "encoder1.layer.conv3.conv.weight" in shapes,
        "conv_block": "encoder2.blocks.0.1.conv1.conv.weight" in shapes,
        "qkv_bias": "vit.blocks.0.attn.qkv.bias" in shapes,
    }
    return settings, {
        "img_size": [16 * side] * dims if side**dims == patches else None,
        "num_heads": hidden // 64 if hidden % 64 == 0 else None,
    }


def _swinunetr(shapes: Shapes) -> tuple[Settings, Settings]:
    proj = shapes["swinViT.patch_embed.proj.weight"]
    dims = len(proj) - 2
    stages = range(1, 5)
    tables = [shapes[f"swinViT.layers{i}.0.blocks.0.attn.relative_position_bias_table"] for i in stages]
    settings = {
        "spatial_dims": dims,
        "feature_size": proj[0],
        "patch_size": proj[2],
        "depths": [len(_numbered(shapes, rf"swinViT\.layers{i}\.0\.blocks\.(\d+)\.")) for i in stages],
        "num_heads": [table[1] for table in tables],
        "window_size": (round(tables[0][0] ** (1 / dims)) + 1) // 2,
        "use_v2": any(name.startswith("swinViT.layers1c.") for name in shapes),
        "qkv_bias": "swinViT.layers1.0.blocks.0.attn.qkv.bias" in shapes,
    }
    return settings, {}


def _basic_unet(shapes: Shapes) -> tuple[Settings, Settings]:
    downs = [shapes[f"down_{i}.convs.conv_0.conv.weight"][0] for i in range(1, 5)]
    first, last = shapes["conv_0.conv_0.conv.weight"], shapes["upcat_1.convs.conv_1.conv.weight"]
    norm: Any = ("instance", {"affine": "conv_0.conv_0.adn.N.weight" in shapes})
    if "conv_0.conv_0.adn.N.running_mean" in shapes:
        norm = "batch"
    settings = {
        "spatial_dims": len(first) - 2,
        "features": [first[0], *downs, last[0]],
        "norm": norm,
        "bias": "conv_0.conv_0.conv.bias" in shapes,
        "upsample": "deconv" if "upcat_1.upsample.deconv.weight" in shapes else "nontrainable",
    }
    return settings, {}


def _vnet(shapes: Shapes) -> tuple[Settings, Settings]:
    conv = shapes["in_tr.conv_block.conv.weight"]
    return {"spatial_dims": len(conv) - 2, "bias": "in_tr.conv_block.conv.bias" in shapes}, {}


# class of monai.networks.nets -> a tensor that it alone has (a regular expression), and the reader of its settings
NETWORKS: dict[str, tuple[str, Callable[[Shapes], tuple[Settings, Settings]]]] = {
    "DynUNet": (r"input_block\.conv1\.conv\.weight", _dynunet),
    "SwinUNETR": (r"swinViT\.patch_embed\.proj\.weight", _swinunetr),
    "UNETR": (r"vit\.patch_embedding\.position_embeddings", _unetr),
    "SegResNet": (r"convInit\.conv\.weight", _segresnet),
    "BasicUNet": (r"upcat_1\.convs\.conv_0\.conv\.weight", _basic_unet),
    "VNet": (r"in_tr\.conv_block\.conv\.weight", _vnet),
    "UNet": (r"model\.0\.conv\.(?:unit0\.conv\.)?weight", _unet),
}
