"""U-Nets of nnU-Net's network package, whose part names are known."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from torch import nn

from benchmark.sources.networks.architecture import STAGES, Architecture
from benchmark.sources.networks.skeleton import Network


def planned_unet(name: str, network: Network, settings: Mapping[str, Any], *, dims: int) -> Architecture:
    """The architecture of a PlainConvUNet or ResidualEncoderUNet, with the finest decoder stages as taps.

    Args:
        name: The architecture's name.
        network: Builds the network.
        settings: Arguments of its class, of which n_stages, strides and features_per_stage are read.
        dims: 3 or 2.
    """
    stages = int(settings["n_stages"]) - 1
    strides = [step if isinstance(step, list | tuple) else [step] * dims for step in settings["strides"]]
    return Architecture(
        name=name,
        network=network,
        taps=tuple(f"decoder.stages.{stage}" for stage in range(max(0, stages - STAGES), stages)),
        decoder=("decoder.stages", "decoder.transpconvs"),
        last=(f"decoder.stages.{stages - 1}", f"decoder.transpconvs.{stages - 1}"),
        head=("decoder.seg_layers",),
        width=int(settings["features_per_stage"][0]),
        divisor=tuple(prod(map(int, steps)) for steps in zip([1] * dims, *strides, strict=True)),
        least=2,
        dims=dims,
    )


def plain_unet(
    in_channels: int, out_channels: int, *, features: Sequence[int], strides: Sequence[int], convolutions: int = 2
) -> nn.Module:
    """nnU-Net's plain U-Net in 3D: convolutions of 3, instance norm with weights, leaky ReLU of slope 0.01.

    It has a segmentation head at every decoder stage, for deep supervision, which nnU-Net's trainer switches on.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes.
        features: Channels of each stage, finest first.
        strides: Stride of each stage's first convolution, equal along all axes; the first is 1.
        convolutions: Convolutions of each stage of the encoder and of the decoder.

    Returns:
        The network, which maps (b, in_channels, D, H, W) to logits (b, out_channels, D, H, W), with nnU-Net's initial
        weights.
    """
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    network = PlainConvUNet(
        in_channels,
        len(features),
        list(features),
        nn.Conv3d,
        3,
        list(strides),
        convolutions,
        out_channels,
        convolutions,
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )
    return network.apply(network.initialize)  # type: ignore[no-any-return]  # the package is not typed
