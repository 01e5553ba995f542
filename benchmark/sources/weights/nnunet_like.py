"""Families of networks that nnU-Net and nnssl train and that are no part of MONAI: STU-Net and Primus."""

import re
from collections.abc import Sequence

from torch import Tensor

from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.primus import Primus, primus_architecture
from benchmark.sources.networks.stunet import STUNet, stunet_architecture
from benchmark.sources.weights.family import Family, Network, Reading, Settings, Tensors

PUBLISHED_STRIDES = [[2, 2, 2]] * 4 + [[1, 1, 2]]  # of STU-Net's weights for the classes of TotalSegmentator
HEADS = {396: 6, 792: 12, 864: 12, 1056: 16}  # attention heads by the width of Primus-S, B, M and L
AUTOENCODER = r"decoder\.(blocks\..*|norm\..*|pos_embed)"  # of Primus, only in pre-training
RESTORED = (
    "pre-trained as a masked autoencoder, whose output restores the image and is no segmentation: up_projection and "
    "decoder are left out"
)
SWAPPED = (
    "tokens are numbered as in nnssl's pre-training, with the first two axes of their grid swapped, so that positions "
    "are those of the pre-training"
)


def read_stunet(tensors: Tensors) -> Reading:
    """STU-Net: no tensor shows the strides, and those of the published weights are assumed."""
    stages = range(_count(tensors, r"conv_blocks_context\.(\d+)\."))
    shown = {
        "widths": [len(tensors[f"conv_blocks_context.{stage}.0.conv1.weight"]) for stage in stages],
        "blocks": [_count(tensors, rf"conv_blocks_context\.{stage}\.(\d+)\.") for stage in stages],
    }
    return Reading(shown, {"strides": PUBLISHED_STRIDES})


def read_primus(tensors: Tensors) -> Reading:
    """Primus: the number of tokens shows the volume of the patch, not its sides; a cube is assumed.

    Tensors of an autoencoder's decoder show that the weights are pre-trained by nnssl.
    """
    width, _, *patch = tensors["down_projection.proj.weight"].shape
    tokens = tensors["eva.pos_embed"].shape[1]
    side = round(tokens ** (1 / 3))
    is_autoencoder = any(re.fullmatch(AUTOENCODER, name) for name in tensors)
    shown: Settings = {
        "embed_dim": width,
        "patch_size": patch,
        "depth": _count(tensors, r"eva\.blocks\.(\d+)\."),
        "mlp_dim": len(tensors["eva.blocks.0.mlp.fc1_g.weight"]),
        "scaled": "eva.blocks.0.gamma_1" in tensors,
        "normed": "eva.blocks.0.attn.norm.weight" in tensors,
        "swap_axes": is_autoencoder,
    }
    assumed: Settings = {
        "img_size": [side * step for step in patch] if side**3 == tokens else None,
        "num_heads": HEADS.get(width),
    }
    return Reading(shown, assumed, (RESTORED, SWAPPED) if is_autoencoder else ())


def without_restoration(tensors: Tensors) -> dict[str, Tensor]:
    """Primus without an autoencoder's decoder and the projection that restores the image, if it has them."""
    own = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(AUTOENCODER, name)}
    if len(own) < len(tensors):
        own = {name: tensor for name, tensor in own.items() if not name.startswith("up_projection.")}
    return own


def _count(tensors: Tensors, pattern: str) -> int:
    """1 + the largest number that the pattern's group matches in the names."""
    return 1 + max(int(match[1]) for name in tensors if (match := re.match(pattern, name)))


def _stunet(name: str, network: Network, settings: Settings) -> Architecture:
    return stunet_architecture(name, network, widths=settings["widths"], strides=settings["strides"])


def primus_parts(name: str, network: Network, settings: Settings) -> Architecture:
    """The architecture of Primus, whose `img_size` may be one number for equal sides."""
    size: int | Sequence[int] = settings["img_size"]
    sides = [size] * 3 if isinstance(size, int) else size
    return primus_architecture(name, network, img_size=sides, embed_dim=settings["embed_dim"])


NNUNET_LIKE: dict[str, Family] = {
    "STUNet": Family(
        r"conv_blocks_context\.0\.0\.conv1\.weight",
        read_stunet,
        r"conv_blocks_localization\.",
        network=STUNet,
        architecture=_stunet,
        notes=("STU-Net's published weights were trained at 1.5 mm on z-scores of each image, of CT, too",),
    ),
    "Primus": Family(
        r"down_projection\.proj\.weight",
        read_primus,
        r"up_projection\.",
        network=Primus,
        renamed=without_restoration,
        architecture=primus_parts,
    ),
}
