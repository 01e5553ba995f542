"""The architecture of a U-Net of nnU-Net's network package, whose part names are known."""

from collections.abc import Mapping
from math import prod
from typing import Any

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
