"""STU-Net, a residual U-Net of six stages that nnU-Net trains in the sizes small to huge.

Huang et al., STU-Net: Scalable and Transferable Medical Image Segmentation Models Empowered by Large-Scale Supervised
Pre-training, arXiv:2304.06716. Modules have the names of the authors' class, so that its state dicts fit.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.sources.networks.architecture import STAGES, Architecture, Triple

SLOPE = 0.01  # of the leaky ReLU


class STUNetBlock(nn.Module):
    """Two convolutions with a shortcut; the first block of a stage has a convolution in its shortcut."""

    def __init__(self, channels: int, width: int, *, stride: Sequence[int], projected: bool) -> None:
        super().__init__()
        step = triple(stride)
        self.conv1 = nn.Conv3d(channels, width, 3, stride=step, padding=1)
        self.norm1 = nn.InstanceNorm3d(width, affine=True)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1)
        self.norm2 = nn.InstanceNorm3d(width, affine=True)
        self.conv3 = nn.Conv3d(channels, width, 1, stride=step) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, D, H, W) to (b, width, D/stride, H/stride, W/stride)."""
        inner = functional.leaky_relu(self.norm1(self.conv1(x)), SLOPE)
        inner = self.norm2(self.conv2(inner))
        return functional.leaky_relu(inner + (x if self.conv3 is None else self.conv3(x)), SLOPE)


class Enlarge(nn.Module):
    """Nearest-neighbour enlargement by a stride, and then a convolution of kernel 1."""

    def __init__(self, channels: int, width: int, *, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(float(step) for step in stride)
        self.conv = nn.Conv3d(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, D, H, W) to (b, width, D * stride, H * stride, W * stride)."""
        return cast("Tensor", self.conv(functional.interpolate(x, scale_factor=self.stride, mode="nearest")))


class STUNet(nn.Module):
    """STU-Net without deep supervision; the heads of coarser stages are built, but not called.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes.
        widths: Channels of each encoder stage.
        blocks: Blocks of each encoder stage; the decoder stage of the same resolution has as many.
        strides: The stride of each stage but the first, along each axis, as `fitting_strides` takes them.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        widths: Sequence[int],
        blocks: Sequence[int],
        strides: Sequence[Sequence[int]],
    ) -> None:
        super().__init__()
        steps = fitting_strides(strides, len(widths))
        entries = [(in_channels, widths[0], (1, 1, 1)), *zip(widths, widths[1:], steps, strict=False)]
        rises = [(below, skip, step) for skip, below, step in zip(widths, widths[1:], steps, strict=False)][::-1]
        plain = (1, 1, 1)
        self.conv_blocks_context = nn.ModuleList(
            _stage(channels, width, count, step) for (channels, width, step), count in zip(entries, blocks, strict=True)
        )
        self.upsample_layers = nn.ModuleList(Enlarge(below, skip, stride=step) for below, skip, step in rises)
        self.conv_blocks_localization = nn.ModuleList(
            _stage(2 * skip, skip, count, plain)
            for (_, skip, _), count in zip(rises, list(blocks)[-2::-1], strict=True)
        )
        self.seg_outputs = nn.ModuleList(nn.Conv3d(skip, out_channels, 1) for _, skip, _ in rises)

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, D, H, W) to logits (b, k, D, H, W)."""
        skips = []
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        for rise, stage, skip in zip(
            self.upsample_layers, self.conv_blocks_localization, reversed(skips[:-1]), strict=True
        ):
            x = stage(torch.cat([rise(x), skip], 1))
        return cast("Tensor", self.seg_outputs[-1](x))


def fitting_strides(strides: Sequence[Sequence[int]], stages: int) -> list[Triple]:
    """One stride for each stage but the first: those of nnU-Net's plans are cut, or filled with 1, as STU-Net does.

    Raises:
        ValueError: A stride is not three positive numbers.

    Example:
        >>> fitting_strides([[2, 2, 2], [1, 2, 2]], 4)
        [(2, 2, 2), (1, 2, 2), (1, 1, 1)]
    """
    steps = [triple(step) for step in strides]
    if any(side < 1 for step in steps for side in step):
        raise ValueError(f"`strides` must be positive, got {list(strides)}")
    return (steps + [(1, 1, 1)] * stages)[: stages - 1]


def stunet_architecture(
    name: str, network: Callable[..., nn.Module], *, widths: Sequence[int], strides: Sequence[Sequence[int]]
) -> Architecture:
    """The architecture of a factory of STUNet with these settings."""
    finest = len(widths) - 2
    stages = range(max(0, finest + 1 - STAGES), finest + 1)
    return Architecture(
        name=name,
        network=network,
        taps=tuple(f"conv_blocks_localization.{stage}" for stage in stages),
        decoder=("conv_blocks_localization", "upsample_layers"),
        last=(f"conv_blocks_localization.{finest}", f"upsample_layers.{finest}"),
        head=("seg_outputs",),
        width=widths[0],
        divisor=tuple(prod(sides) for sides in zip(*fitting_strides(strides, len(widths)), strict=True)),
        least=2,
    )


def triple(sides: Sequence[int]) -> Triple:
    """Three whole numbers as a tuple; anything else is a ValueError."""
    depth, height, width = (int(side) for side in sides)
    return depth, height, width


def _stage(channels: int, width: int, count: int, stride: Sequence[int]) -> nn.Sequential:
    first = STUNetBlock(channels, width, stride=stride, projected=True)
    others = (STUNetBlock(width, width, stride=(1, 1, 1), projected=False) for _ in range(count - 1))
    return nn.Sequential(first, *others)
