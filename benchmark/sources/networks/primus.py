"""Primus, a vision transformer for 3D segmentation whose last module but the head returns the map of the tokens.

Wald et al., Primus: Enforcing Attention Usage for 3D Medical Image Segmentation, arXiv:2503.01835. Modules have the
names of the class in dynamic_network_architectures, so that its state dicts fit; that class itself needs a torchvision
that is built for the installed torch, and its tokens are no module's output.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.sources.networks.architecture import Architecture, Triple

TOKENS = "tokens"  # name of the module that returns the map of the tokens
HEAD = "up_projection"  # its widths depend on the classes, so it is replaced as a whole
TEMPERATURE = 10_000  # of the rotary embeddings' frequencies
SMALLEST = 8  # channels of the up projection are a multiple of it


class Primus(nn.Module):
    """Primus for volumes of one size.

    Args:
        in_channels: Channels of the input.
        out_channels: Classes.
        img_size: (3,) voxels of a volume, or one number for equal sides.
        patch_size: (3,) voxels of a token, powers of 2.
        embed_dim: Channels of a token.
        mlp_dim: Inner channels of a block's MLP.
        depth: Transformer blocks.
        num_heads: Attention heads of a block; each has three axes' sines and cosines, so a multiple of 6 channels.
        scaled: Whether both branches of a block have a learned scale per channel.
        normed: Whether the attended values are normalised.
        swap_axes: Whether tokens are numbered with the second axis of the grid slowest, then the first, then the
            third, as in nnssl's pre-training, and not in the order of the axes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        img_size: int | Sequence[int],
        patch_size: Sequence[int],
        embed_dim: int,
        mlp_dim: int,
        depth: int,
        num_heads: int,
        scaled: bool = True,
        normed: bool = True,
        swap_axes: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(img_size, int):
            img_size = [img_size] * len(patch_size)
        if any(side % step for side, step in zip(img_size, patch_size, strict=True)):
            raise ValueError(f"`img_size` must be a multiple of {list(patch_size)} along each axis, got {img_size}")
        if embed_dim % (6 * num_heads):
            raise ValueError(f"`num_heads` must leave a multiple of 6 of {embed_dim} channels a head, got {num_heads}")
        depth_side, height, width = (side // step for side, step in zip(img_size, patch_size, strict=True))
        self.down_projection = _Embedding(in_channels, embed_dim, patch_size)
        self.up_projection = _UpProjection(embed_dim, out_channels, patch_size)
        blocks = [_Block(embed_dim, mlp_dim, num_heads, scaled=scaled, normed=normed) for _ in range(depth)]
        self.eva = _Transformer(blocks, (depth_side, height, width), embed_dim, embed_dim // num_heads)
        self.register_buffer("mask_token", torch.zeros(1, 1, embed_dim))
        self.tokens = nn.Identity()
        self._swap_axes = swap_axes

    def forward(self, x: Tensor) -> Tensor:
        """Map (b, c, D, H, W) to logits (b, k, D, H, W)."""
        grid = self._ordered(self.down_projection(x))
        attended = self.eva(grid.flatten(2).transpose(1, 2))
        grid = self._ordered(attended.transpose(1, 2).reshape(grid.shape))
        return cast("Tensor", self.up_projection(self.tokens(grid.contiguous())))

    def _ordered(self, grid: Tensor) -> Tensor:
        return grid.transpose(2, 3) if self._swap_axes else grid


class _Embedding(nn.Module):
    """Patches to tokens."""

    def __init__(self, channels: int, width: int, patch: Sequence[int]) -> None:
        super().__init__()
        depth, height, breadth = patch
        self.proj = nn.Conv3d(channels, width, (depth, height, breadth), stride=(depth, height, breadth))

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.proj(x))


class _Transformer(nn.Module):
    """Blocks on tokens (b, n, d) with a learned and a rotary position embedding."""

    def __init__(self, blocks: Sequence[nn.Module], grid: Triple, width: int, head: int) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(grid), width))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self._grid, self._head = grid, head
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.pos_embed
        angles = rotary_angles(self._grid, self._head).to(tokens.device)
        for block in self.blocks:
            tokens = block(tokens, angles.sin(), angles.cos())
        return cast("Tensor", self.norm(tokens))


def rotary_angles(grid: Sequence[int], head: int) -> Tensor:
    """Angles (n, head) float32 of the positions in a grid, in the order of its axes.

    The channels of a head are the axes, the frequencies of an axis, and two equal neighbours; an angle is the position
    along the axis, divided by 10,000^(f / number of frequencies).
    """
    count = head // (2 * len(grid))
    frequencies = TEMPERATURE ** (-torch.arange(count, dtype=torch.float32) / count)
    places = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float32) for side in grid))
    return (places[:, :, None] * frequencies).flatten(1).repeat_interleave(2, dim=-1)


class _Block(nn.Module):
    """Attention and a gated MLP, each after a norm and with a learned scale."""

    def __init__(self, width: int, inner: int, heads: int, *, scaled: bool, normed: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = _Attention(width, heads, normed=normed)
        self.mlp = _GatedMlp(width, inner)
        self.gamma_1 = nn.Parameter(torch.full((width,), 0.1)) if scaled else None
        self.gamma_2 = nn.Parameter(torch.full((width,), 0.1)) if scaled else None

    def forward(self, x: Tensor, sines: Tensor, cosines: Tensor) -> Tensor:
        attended = self.attn(self.norm1(x), sines, cosines)
        x = x + (attended if self.gamma_1 is None else self.gamma_1 * attended)
        inner = self.mlp(self.norm2(x))
        return cast("Tensor", x + (inner if self.gamma_2 is None else self.gamma_2 * inner))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, *, normed: bool) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width) if normed else nn.Identity()
        self.proj = nn.Linear(width, width)
        self._heads = heads

    def forward(self, x: Tensor, sines: Tensor, cosines: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self._heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (_rotated(part, sines, cosines) for part in (q, k))
        attended = functional.scaled_dot_product_attention(q, k, v)
        return cast("Tensor", self.proj(self.norm(attended.transpose(1, 2).flatten(2))))


def _rotated(x: Tensor, sines: Tensor, cosines: Tensor) -> Tensor:
    """Rotate each pair of neighbours (a, b) to (a cos - b sin, b cos + a sin)."""
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cosines.to(x.dtype) + turned * sines.to(x.dtype)


class _GatedMlp(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1_g = nn.Linear(width, inner)
        self.fc1_x = nn.Linear(width, inner)
        self.norm = nn.LayerNorm(inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.fc2(self.norm(functional.silu(self.fc1_g(x)) * self.fc1_x(x))))


class _UpProjection(nn.Module):
    """Tokens to logits: transposed convolutions, with norm and GELU between them.

    The channels shrink by one factor to about twice the classes before the last, which has the classes.
    """

    def __init__(self, width: int, classes: int, patch: Sequence[int]) -> None:
        super().__init__()
        count = int(math.log2(max(patch)))
        factor = (width / (2 * classes)) ** (1 / count)
        widths = [
            max(SMALLEST, round((width / factor ** (step + 1) + 1e-6) / SMALLEST) * SMALLEST)
            for step in range(count - 1)
        ]
        steps = [[2 if side // 2**level % 2 == 0 else 1 for side in patch] for level in reversed(range(count))]
        stages: list[nn.Module] = []
        for channels, own, (depth, height, breadth) in zip((width, *widths), (*widths, classes), steps, strict=True):
            size = (depth, height, breadth)
            rise = nn.ConvTranspose3d(channels, own, size, stride=size)
            is_last = len(stages) == count - 1
            stages.append(rise if is_last else nn.Sequential(rise, _ChannelNorm(own), nn.GELU()))
        self.decode = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.decode(x))


class _ChannelNorm(nn.Module):
    """Layer norm over the channels of a map (b, d, D, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x.movedim(1, -1), self.weight.shape, self.weight, self.bias, 1e-6).movedim(-1, 1)


def primus_architecture(
    name: str, network: Callable[..., nn.Module], *, img_size: Sequence[int], embed_dim: int
) -> Architecture:
    """The architecture of a factory of Primus with these settings: its only tap is the map of the tokens."""
    return Architecture(
        name=name,
        network=network,
        taps=(TOKENS,),
        decoder=(),
        last=(),
        head=(HEAD,),
        width=embed_dim,
        size=tuple(img_size),
    )
