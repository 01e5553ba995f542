"""Infer the settings of MONAI's SegResNetDS, MedNeXt, AttentionUnet, BasicUNetPlusPlus and FlexibleUNet. MONAI 1.6.1.

MedNeXt as in github.com/MIC-DKFZ/MedNeXt has other names and another expansion ratio in its downsampling blocks.
"""

import re

from monai.networks.nets.resnet import resnet_params
from torch import Tensor

from benchmark.sources.networks.mednext import MedNeXtV1
from benchmark.sources.networks.unet_plus_plus import SingleOutputUNetPlusPlus
from benchmark.sources.weights.family import Family, Reading, Settings, Tensors
from benchmark.sources.weights.layer_settings import (
    NO_AFFINE,
    kernel_sides,
    norm_setting,
    numbers,
    upsampling,
    with_slope,
)

# channels of the last convolution and number of blocks -> the EfficientNet
EFFICIENTNETS = {
    (1280, 16): "b0", (1280, 23): "b1", (1408, 23): "b2", (1536, 26): "b3", (1792, 32): "b4",
    (2048, 39): "b5", (2304, 45): "b6", (2560, 55): "b7", (2816, 61): "b8", (5504, 88): "l2",
}  # fmt: skip
LEAKY = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})  # of BasicUNetPlusPlus
BATCH = ("batch", {"eps": 1e-3, "momentum": 0.1})  # of FlexibleUNet's decoder


def read_segresnet_ds(tensors: Tensors) -> Reading:
    """SegResNetDS: kernels of 1 along an axis show that a level does not halve it, and so the ratio of the spacings."""
    first = tensors["encoder.conv_init.weight"]
    downs = len(numbers(tensors, r"encoder\.layers\.(\d+)\.downsample\.weight"))
    shown: Settings = {
        "spatial_dims": first.ndim - 2,
        "init_filters": len(first),
        "blocks_down": [len(numbers(tensors, rf"encoder\.layers\.{i}\.blocks\.(\d+)\.")) for i in range(downs + 1)],
        "blocks_up": [len(numbers(tensors, rf"up_layers\.{i}\.blocks\.(\d+)\.")) for i in range(downs)],
        "upsample_mode": upsampling(tensors, r"up_layers\.0\.upsample"),
    }
    kernels = [kernel_sides(first)]
    kernels += [kernel_sides(tensors[f"encoder.layers.{i}.downsample.weight"]) for i in range(1, downs)]
    last = tensors.get(f"encoder.layers.{downs}.blocks.0.conv1.weight")
    kernels += [kernel_sides(last)] if downs and last is not None else []
    whole = [sum(sides[axis] == 1 for sides in kernels) for axis in range(first.ndim - 2)]
    if any(whole):
        shown["resolution"] = [float(2**levels) for levels in whole]
    norm = next((match[1] for name in tensors if (match := re.match(r"(.+\.blocks\.0\.norm1)\.", name))), "none")
    return with_slope(tensors, Reading(shown, {"norm": norm_setting(tensors, norm)}), "act", r".*\.act[12]", "relu")


def read_attention_unet(tensors: Tensors) -> Reading:
    """AttentionUnet: no tensor shows the strides."""
    first = tensors["model.0.conv.0.conv.weight"]
    channels, at = [len(first)], "model.1.submodule"
    while f"{at}.0.conv.0.conv.weight" in tensors:
        channels.append(len(tensors[f"{at}.0.conv.0.conv.weight"]))
        at = f"{at}.1.submodule"
    shown: Settings = {
        "spatial_dims": first.ndim - 2,
        "channels": [*channels, len(tensors[f"{at}.conv.0.conv.weight"])],
        "kernel_size": kernel_sides(first),
        "up_kernel_size": kernel_sides(tensors["model.1.upconv.up.conv.weight"]),
    }
    return Reading(shown, {"strides": [2] * len(channels), "dropout": 0.0})


def read_unet_plus_plus(tensors: Tensors) -> Reading:
    """BasicUNetPlusPlus."""
    first, last = tensors["conv_0_0.conv_0.conv.weight"], tensors["upcat_0_4.convs.conv_1.conv.weight"]
    downs = [len(tensors[f"conv_{i}_0.convs.conv_0.conv.weight"]) for i in range(1, 5)]
    shown: Settings = {
        "spatial_dims": first.ndim - 2,
        "features": [len(first), *downs, len(last)],
        "bias": "conv_0_0.conv_0.conv.bias" in tensors,
        "upsample": upsampling(tensors, r"upcat_0_4\.upsample"),
    }
    assumed = {"norm": norm_setting(tensors, "conv_0_0.conv_0.adn.N", bare=NO_AFFINE), "dropout": 0.0}
    return with_slope(tensors, Reading(shown, assumed), "act", r".*\.adn\.A", LEAKY)


def read_flexible_unet(tensors: Tensors) -> Reading:
    """FlexibleUNet: counts and widths of its encoder's blocks show the backbone."""
    levels = numbers(tensors, r"decoder\.blocks\.(\d+)\.")
    convs = [tensors[f"decoder.blocks.{level}.convs.conv_0.conv.weight"] for level in levels]
    mode = upsampling(tensors, r"decoder\.blocks\.0\.upsample")
    has_convolution = "decoder.blocks.0.upsample.preconv.weight" in tensors
    shown: Settings = {
        "spatial_dims": convs[0].ndim - 2,
        "backbone": _backbone(tensors),
        "decoder_channels": tuple(len(conv) for conv in convs),
        "decoder_bias": "decoder.blocks.0.convs.conv_0.conv.bias" in tensors,
        "upsample": mode,
        "pre_conv": None if mode == "nontrainable" and not has_convolution else "default",
    }
    norm = norm_setting(tensors, "decoder.blocks.0.convs.conv_0.adn.N")
    kept = "decoder.blocks.0.convs.conv_0.adn.N.running_mean" in tensors
    affine = "decoder.blocks.0.convs.conv_0.adn.N.weight" in tensors
    assumed: Settings = {"norm": BATCH if kept and affine else norm, "dropout": 0.0}
    assumed |= {"interp_mode": "nearest"} if mode == "nontrainable" else {}
    return with_slope(tensors, Reading(shown, assumed), "act", r"decoder\..*\.adn\.A", ("relu", {"inplace": True}))


def _backbone(tensors: Tensors) -> str:
    head = tensors.get("encoder._conv_head.weight")
    if head is not None:
        blocks = {match[1] for name in tensors if (match := re.match(r"encoder\._blocks\.(\d+\.\d+)\.", name))}
        if size := EFFICIENTNETS.get((len(head), len(blocks))):
            return f"efficientnet-{size}"
        raise ValueError(f"an encoder of MONAI's FlexibleUNet, rather than one of {len(blocks)} EfficientNet blocks,")
    layers = [len(numbers(tensors, rf"encoder\.layer{level}\.(\d+)\.")) for level in range(1, 5)]
    listed = ", ".join(map(str, layers))
    kind = "bottleneck" if "encoder.layer1.0.conv3.weight" in tensors else "basic"
    for name, (block, counts, *_) in resnet_params.items():
        if (block, list(counts)) == (kind, layers):
            return str(name)
    raise ValueError(f"an encoder of MONAI's FlexibleUNet, rather than one of {listed} {kind} blocks,")


def read_mednext(tensors: Tensors) -> Reading:
    """MedNeXt in MONAI's class; a ratio is the number of rows over that of columns of a block's second convolution."""
    stem, downs, ups = tensors["stem.weight"], _levels(tensors, "down_blocks"), _levels(tensors, "up_blocks")
    shown: Settings = {
        "spatial_dims": stem.ndim - 2,
        "init_filters": len(stem),
        "kernel_size": kernel_sides(tensors["down_blocks.0.conv1.weight"])[0],
        "encoder_expansion_ratio": [_ratio(tensors, f"down_blocks.{i}") for i in downs],
        "bottleneck_expansion_ratio": _ratio(tensors, "bottleneck.0"),
        "decoder_expansion_ratio": [_ratio(tensors, f"up_blocks.{i}") for i in ups],
        "blocks_down": [len(numbers(tensors, rf"enc_stages\.{i}\.(\d+)\.")) for i in downs],
        "blocks_bottleneck": len(numbers(tensors, r"bottleneck\.(\d+)\.")),
        "blocks_up": [len(numbers(tensors, rf"dec_stages\.{i}\.(\d+)\.")) for i in ups],
        "use_residual_connection": "down_blocks.0.res_conv.weight" in tensors,
        "norm_type": "layer" if tensors["down_blocks.0.norm.weight"].ndim > 1 else "group",
        "global_resp_norm": "up_blocks.0.global_resp_beta" in tensors,
    }
    return Reading(shown)


def read_mednext_v1(tensors: Tensors) -> Reading:
    """MedNeXt in the authors' class; a block may also not add its input, or have a layer norm with the same tensors."""
    own = mednext_names(tensors)
    reading = read_mednext(own).shown
    levels = range(len(reading["blocks_down"]))
    shown = reading | {
        "encoder_expansion_ratio": [_ratio(own, f"enc_stages.{i}.0") for i in levels],
        "down_expansion_ratio": reading["encoder_expansion_ratio"],
    }
    del shown["norm_type"]
    return Reading(shown, {"norm_type": "group", "block_residuals": True})


def mednext_names(tensors: Tensors) -> dict[str, Tensor]:
    """Rename the tensors of the authors' class as in MONAI's, which counts the decoder's levels from the coarsest.

    Example:
        >>> import torch
        >>> list(mednext_names({"down_0.a": torch.ones(1), "up_0.a": torch.ones(1), "out_1.a": torch.ones(1)}))
        ['down_blocks.0.a', 'up_blocks.0.a', 'out_blocks.0.a']
    """
    last = max(numbers(tensors, r"up_(\d+)\."), default=0)
    parts = {
        "enc_block_": ("enc_stages", 0, 1),
        "down_": ("down_blocks", 0, 1),
        "up_": ("up_blocks", last, -1),
        "dec_block_": ("dec_stages", last, -1),
        "out_": ("out_blocks", last + 1, -1),
    }
    renamed = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"([a-z_]+_)(\d+)\.(.+)", name)
        if match and match[1] in parts and (match[1], match[2]) != ("out_", "0"):
            part, first, step = parts[match[1]]
            name = f"{part}.{first + step * int(match[2])}.{match[3]}"  # noqa: PLW2901 - other names are kept
        renamed[name] = tensor
    return renamed


def _levels(tensors: Tensors, part: str) -> list[int]:
    return numbers(tensors, rf"{part}\.(\d+)\.conv2\.weight")


def _ratio(tensors: Tensors, block: str) -> int:
    weight = tensors[f"{block}.conv2.weight"]
    return len(weight) // weight.shape[1]


MONAI_OTHERS: dict[str, Family] = {
    "SegResNetDS": Family(
        r"encoder\.conv_init\.weight", read_segresnet_ds, r"up_layers\.", extras=r"up_layers\.\d+\.head\..*"
    ),
    "MedNeXt": Family(
        r"enc_stages\.0\.0\.conv1\.weight", read_mednext, r"(up_blocks|dec_stages)\.", extras=r"out_blocks\..*"
    ),
    "MedNeXtV1": Family(
        r"enc_block_0\.0\.conv1\.weight",
        read_mednext_v1,
        r"(up|dec_block)_\d+\.",
        extras=r"out_blocks\..*|dummy_tensor",
        network=MedNeXtV1,
        renamed=mednext_names,
        notes=("computed as by its authors' class (MIC-DKFZ), which differs from MONAI's MedNeXt",),
    ),
    "AttentionUnet": Family(r"model\.0\.conv\.0\.conv\.weight", read_attention_unet, r"model\.1\.upconv\."),
    "BasicUNetPlusPlus": Family(
        r"conv_0_0\.conv_0\.conv\.weight", read_unet_plus_plus, r"upcat_\d_\d\.", network=SingleOutputUNetPlusPlus
    ),
    "FlexibleUNet": Family(
        r"decoder\.blocks\.0\.convs\.conv_0\.conv\.weight", read_flexible_unet, r"decoder\.blocks\."
    ),
}
