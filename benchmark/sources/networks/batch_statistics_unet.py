"""UNet3D of Models Genesis and SuPreM, a 3D U-Net that normalises with the statistics of the batch at hand.

Z. Zhou et al., "Models Genesis", Medical Image Analysis 67 (2021), doi:10.1016/j.media.2020.101840. Names and
order of the modules are those of the class `UNet3D` in github.com/MrGiovanni/ModelsGenesis and, for SuPreM's
weights, in github.com/MrGiovanni/SuPreM. The logits are returned without the sigmoid that Models Genesis applies.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (64, 128, 256, 512)  # channels of each level, as the names of its modules say
ACTIVATIONS = ("relu", "prelu", "elu")


class BatchStatisticsNorm(nn.BatchNorm3d):
    """Batch norm that uses the mean and variance of its input in eval mode, too; the running statistics are unused.

    In eval mode each item is a batch of its own, so that the features of a window do not depend on the windows that
    share its forward pass; for a batch of one this is what the public class computes.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (b, c, D, H, W) over b, D, H and W; in eval mode over D, H and W."""
        if self.training:
            return super().forward(x)
        return functional.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class _Convolution(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, act: str) -> None:
        super().__init__()
        activations = {"relu": nn.ReLU, "elu": nn.ELU}
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.bn1 = BatchStatisticsNorm(out_channels)
        self.activation = nn.PReLU(out_channels) if act == "prelu" else activations[act]()

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.bn1(self.conv1(x))
        activated: Tensor = self.activation(normalised)
        return activated


class _Down(nn.Module):
    """Two convolutions, the first with half the width."""

    def __init__(self, in_channels: int, width: int, act: str) -> None:
        super().__init__()
        self.ops = nn.Sequential(_Convolution(in_channels, width // 2, act), _Convolution(width // 2, width, act))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.ops(x)
        return output


class _Up(nn.Module):
    """Upsample, concatenate with the skip connection, and two convolutions."""

    def __init__(self, coarse: int, width: int, act: str) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(coarse, coarse, 2, stride=2)
        self.ops = nn.Sequential(_Convolution(coarse + width, width, act), _Convolution(width, width, act))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        output: Tensor = self.ops(torch.cat([self.up_conv(x), skip], dim=1))
        return output


class _Head(nn.Module):
    def __init__(self, width: int, out_channels: int) -> None:
        super().__init__()
        self.final_conv = nn.Conv3d(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.final_conv(x)
        return logits


class UNet3D(nn.Module):
    """Maps (b, in_channels, D, H, W) to logits (b, out_channels, D, H, W); the sides are multiples of 8.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the head.
        act: "relu", "prelu" with a slope for each channel, or "elu".

    Raises:
        ValueError: `act` is unknown.
    """

    def __init__(self, in_channels: int, out_channels: int, act: str = "relu") -> None:
        super().__init__()
        if act not in ACTIVATIONS:
            raise ValueError(f"`act` must be one of {', '.join(ACTIVATIONS)}, got {act!r}")
        for coarse, width in zip((in_channels, *WIDTHS[:-1]), WIDTHS, strict=True):
            self.add_module(f"down_tr{width}", _Down(coarse, width, act))
        for width, coarse in reversed(list(pairwise(WIDTHS))):
            self.add_module(f"up_tr{width}", _Up(coarse, width, act))
        self.out_tr = _Head(WIDTHS[0], out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        skips: list[Tensor] = []
        for width in WIDTHS:
            x = self.get_submodule(f"down_tr{width}")(functional.max_pool3d(x, 2) if skips else x)
            skips.append(x)
        for width, skip in zip(reversed(WIDTHS[:-1]), reversed(skips[:-1]), strict=True):
            x = self.get_submodule(f"up_tr{width}")(x, skip)
        logits: Tensor = self.out_tr(x)
        return logits
