"""Random settings of MONAI's networks over their whole signatures, for the test that rebuilds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from monai.networks import nets
from torch import nn

from benchmark.sources.weights.swin_merging import EarlyPatchMerging

INSTANCE, BATCH = ("instance", {"affine": True}), ("batch", {"affine": True})
NORMS = ["instance", INSTANCE, "batch", ("batch", {"affine": False}), ("group", {"num_groups": 2}),
         ("group", {"num_groups": 4}), ("instance", {"affine": True, "eps": 1e-2})]  # fmt: skip
ACTS = ["relu", "prelu", ("leakyrelu", {"negative_slope": 0.2}), "elu", ("leakyrelu", {"negative_slope": 0.01}),
        ("prelu", {"num_parameters": 1, "init": 0.3}), "gelu"]  # fmt: skip


@dataclass(frozen=True)
class Signature:
    """What a network's settings may be.

    Attributes:
        base: Settings that it needs, or that keep it small: a first guess, not the class's defaults alone.
        choices: Setting -> further values.
        shape: Sides of an input that every one of them takes.
    """

    base: Mapping[str, Any]
    choices: Mapping[str, list[Any]]
    shape: tuple[int, ...]


SIGNATURES = {
    "DynUNet": Signature(
        {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]},
        {
            "kernel_size": [[[3, 3, 1], 3, 3], [5, 3, 3]],
            "strides": [[2, 2, 2]],
            "filters": [[8, 8, 8], [4, 12, 20]],
            "norm_name": NORMS,
            "act_name": ACTS,
            "dropout": [0.3, ("dropout", {"p": 0.1})],
            "deep_supervision": [True],
            "deep_supr_num": [1],
            "res_block": [True],
            "trans_bias": [True],
        },
        (16, 16, 16),
    ),
    "UNet": Signature(
        {"channels": [4, 8, 16], "strides": [2, 2]},
        {
            "channels": [[8, 8, 8], [4, 8]],
            "strides": [[1, 2], [[2, 2, 1], 2]],
            "kernel_size": [5, [3, 3, 1]],
            "up_kernel_size": [5, [3, 3, 5]],
            "num_res_units": [1, 2, 3],
            "act": ACTS,
            "norm": NORMS,
            "dropout": [0.2],
            "bias": [False],
            "adn_ordering": ["ADN", "NA", "A", "DN"],
        },
        (16, 16, 16),
    ),
    "SegResNet": Signature(
        {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
        {
            "init_filters": [4, 12, 16],
            "dropout_prob": [0.2],
            "act": ACTS,
            "norm": NORMS,
            "num_groups": [4],
            "norm_name": ["group"],
            "use_conv_final": [False],
            "blocks_down": [[1, 2, 1], [2, 1, 3]],
            "blocks_up": [[2, 1], [1, 3]],
            "upsample_mode": ["deconv", "pixelshuffle", "deconvgroup"],
        },
        (16, 16, 16),
    ),
    "BasicUNet": Signature(
        {"features": [4, 4, 8, 8, 16, 4]},
        {
            "features": [[4, 8, 8, 16, 16, 8], [8, 8, 8, 8, 8, 8]],
            "act": ACTS,
            "norm": NORMS,
            "bias": [False],
            "dropout": [0.3, ("dropout", {"p": 0.1})],
            "upsample": ["nontrainable", "pixelshuffle", "deconvgroup"],
        },
        (32, 16, 16),
    ),
    "VNet": Signature(
        {},
        {
            "act": ACTS[:4],  # each is a network of 45 million weights
            "dropout_prob_down": [None, 0.1],
            "dropout_prob_up": [(0.1, 0.2)],
            "dropout_dim": [2],
            "bias": [True],
        },
        (32, 16, 16),
    ),
    "UNETR": Signature(
        {"img_size": 32, "feature_size": 4, "hidden_size": 64, "mlp_dim": 32},
        {
            "feature_size": [8],
            "hidden_size": [128],
            "mlp_dim": [64],
            "num_heads": [2, 4],
            "proj_type": ["perceptron"],
            "norm_name": NORMS[1::2],
            "conv_block": [False],
            "res_block": [False],
            "dropout_rate": [0.1],
            "qkv_bias": [True],
            "save_attn": [True],
        },
        (32, 32, 32),
    ),
    "SwinUNETR": Signature(
        {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 3},
        {
            "depths": [[2, 1, 1, 1], [1, 2, 1, 2]],
            "num_heads": [[3, 3, 3, 3], [1, 2, 3, 4]],
            "window_size": [2, [2, 3, 4], [4, 3, 2]],
            "qkv_bias": [False],
            "mlp_ratio": [2.0, 2.7, 1.0],
            "feature_size": [24],
            "norm_name": NORMS[1::2],
            "drop_rate": [0.1],
            "attn_drop_rate": [0.1],
            "dropout_path_rate": [0.1],
            "normalize": [False],
            "patch_norm": [True],
            "use_checkpoint": [True],
            "downsample": ["mergingv2", EarlyPatchMerging],
            "use_v2": [True],
            "use_flash_attention": [True],
        },
        (64, 32, 32),
    ),
}


def build(name: str, settings: Mapping[str, Any], *, dims: int = 3, channels: int = 1, classes: int = 3) -> nn.Module:
    """A network of MONAI."""
    chosen = {**SIGNATURES[name].base, **settings}
    if name == "UNETR":
        chosen.setdefault("num_heads", chosen["hidden_size"] // 64)  # as the class's own defaults have it
    made: nn.Module = getattr(nets, name)(spatial_dims=dims, in_channels=channels, out_channels=classes, **chosen)
    return made
