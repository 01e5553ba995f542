"""MedNeXt as in github.com/MIC-DKFZ/MedNeXt: MONAI's class with other expansion ratios in its downsampling blocks.

S. Roy et al., "MedNeXt: Transformer-driven Scaling of ConvNets for Medical Image Segmentation", MICCAI 2023,
doi:10.1007/978-3-031-43901-8_39. In the authors' class a downsampling block has the expansion ratio of the level that
it leads to; in MONAI 1.6.1 it has that of the level that it comes from. Modules have MONAI's names.
"""

from collections.abc import Sequence
from typing import Any

from monai.networks.blocks.mednext_block import MedNeXtBlock, MedNeXtDownBlock
from monai.networks.nets import MedNeXt
from torch import nn


class MedNeXtV1(MedNeXt):  # type: ignore[misc]  # MONAI is not typed
    """Maps (b, in_channels, D, H, W) to logits (b, out_channels, D, H, W); the sides are multiples of 2^levels.

    Args:
        down_expansion_ratio: Of the downsampling blocks, finest first.
        block_residuals: Whether the blocks that keep the resolution add their input.
        settings: Arguments of MONAI's MedNeXt; `use_residual_connection` is for the blocks that change the resolution.
    """

    def __init__(self, *, down_expansion_ratio: Sequence[int], block_residuals: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        dims = settings.get("spatial_dims", 3)
        width = settings.get("init_filters", 32)
        self.down_blocks = nn.ModuleList(
            MedNeXtDownBlock(
                in_channels=width * 2**level,
                out_channels=width * 2 ** (level + 1),
                expansion_ratio=ratio,
                kernel_size=settings.get("kernel_size", 7),
                use_residual_connection=settings.get("use_residual_connection", False),
                norm_type=settings.get("norm_type", "group"),
                dim=f"{dims}d",
            )
            for level, ratio in enumerate(down_expansion_ratio)
        )
        for part in (self.enc_stages, self.bottleneck, self.dec_stages):
            for block in part.modules():
                if isinstance(block, MedNeXtBlock):
                    block.do_res = block_residuals
