"""Which of MONAI's networks a state dict is of, and the settings that its names and shapes show."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from benchmark.errors import InputError
from benchmark.sources.weights.layer_settings import Reading, Settings, Tensors
from benchmark.sources.weights.monai_convolutional import (
    read_basic_unet,
    read_dynunet,
    read_segresnet,
    read_unet,
    read_vnet,
)
from benchmark.sources.weights.monai_transformers import read_swin_unetr, read_unetr


@dataclass(frozen=True)
class Family:
    """A class of monai.networks.nets and how its state dicts are known.

    Attributes:
        mark: A tensor that this class has and no other, as a regular expression.
        read: Reads the settings.
        decoder: How the names of its decoder's tensors begin, as a regular expression.
        extras: Tensors of heads that are used in training only, as a regular expression; they may be left over.
        idle: Tensors that its forward pass never reads, as a regular expression; they may be missing.
    """

    mark: str
    read: Callable[[Tensors], Reading]
    decoder: str
    extras: str = ""
    idle: str = ""


FAMILIES: dict[str, Family] = {
    "DynUNet": Family(
        r"input_block\.conv1\.conv\.weight",
        read_dynunet,
        r"upsamples\.",
        extras=r"deep_supervision_heads\..*|skip_layers\.(next_layer\.)*super_head\..*",
    ),
    "SwinUNETR": Family(r"swinViT\.patch_embed\.proj\.weight", read_swin_unetr, r"decoder\d\."),
    "UNETR": Family(
        r"vit\.patch_embedding\.position_embeddings",
        read_unetr,
        r"decoder\d\.",
        idle=r"vit\.blocks\.\d+\.norm_cross_attn\..*",
    ),
    "SegResNet": Family(r"convInit\.conv\.weight", read_segresnet, r"up_(layers|samples)\."),
    "BasicUNet": Family(r"conv_0\.conv_0\.conv\.weight", read_basic_unet, r"upcat_\d\."),
    "VNet": Family(r"in_tr\.conv_block\.conv\.weight", read_vnet, r"up_tr\d+\."),
    "UNet": Family(r"model\.0\.conv\.(?:unit0\.conv\.)?weight", read_unet, r"model\.(1\.submodule\.)*2\."),
}

# Tensors of an encoder without a decoder, by names that no network above has -> what it is
ENCODERS = {
    r"(.*\.)?patch_embed\.proj\.weight": "a Swin transformer",
    r"(.*\.)?patch_embedding\.position_embeddings": "a vision transformer",
    r"(.*\.)?layer1\.0\.conv1\.weight": "a ResNet",
}


@dataclass(frozen=True)
class Guess:
    """A network class and its settings.

    Attributes:
        network: The class's name in monai.networks.nets.
        settings: Its arguments but for in_channels and out_channels.
        assumed: Settings that no tensor shows, with the value taken.
        dims: 3 or 2.
        prefix: What stands before the network's own names.
    """

    network: str
    settings: Settings
    assumed: Mapping[str, Any]
    dims: int
    prefix: str = ""

    @property
    def family(self) -> Family:
        """What is known of the class."""
        return FAMILIES[self.network]

    def with_shown(self, name: str, value: Any) -> "Guess":
        """The guess with a setting that is known after all."""
        assumed = {other: own for other, own in self.assumed.items() if other != name}
        return replace(self, settings=self.settings | {name: value}, assumed=assumed)


def current_names(tensors: Tensors) -> dict[str, Tensor]:
    """A state dict with the names that MONAI gives today: up to 0.3 a convolution's norm and activation had others.

    Example:
        >>> import torch
        >>> old = {"model.0.conv.weight": torch.ones(2, 1, 3, 3, 3), "model.0.act.weight": torch.ones(1)}
        >>> list(current_names(old))
        ['model.0.conv.weight', 'model.0.adn.A.weight']
    """
    return {_current(name, tensors): tensor for name, tensor in tensors.items()}


def _current(name: str, tensors: Tensors) -> str:
    match = re.fullmatch(r"(.+)\.(norm|act)\.(\w+)", name)
    if match is None or f"{match[1]}.conv.weight" not in tensors:
        return name
    return f"{match[1]}.adn.{'N' if match[2] == 'norm' else 'A'}.{match[3]}"


def guess(tensors: Tensors, *, source: str, given: Mapping[str, Any]) -> Guess:
    """Read the network's class and settings off the names and shapes of its tensors.

    Args:
        tensors: The state dict; a prefix before all its names does not matter.
        source: The source's name, for errors.
        given: Settings that the user states; they win.

    Raises:
        InputError: No known class has such names, the decoder is missing, or a setting is shown by nothing.
    """
    for network, family in FAMILIES.items():
        starts = [match[1] for name in tensors if (match := re.fullmatch(rf"((?:.+?\.)??){family.mark}", name))]
        if starts:
            return _read(network, tensors, min(starts, key=len), source=source, given=given)
    for pattern, encoder in ENCODERS.items():
        if any(re.fullmatch(pattern, name) for name in tensors):
            raise InputError(_encoder_alone(source, encoder))
    known, first = ", ".join(FAMILIES), next(iter(tensors), "none")
    raise InputError(
        f"source {source}: no network is known that has tensors such as {first}; known are MONAI's {known}; name the "
        "network by source=factory"
    )


def _read(network: str, tensors: Tensors, start: str, *, source: str, given: Mapping[str, Any]) -> Guess:
    family = FAMILIES[network]
    own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    if not any(re.match(family.decoder, name) for name in own):
        raise InputError(_encoder_alone(source, network))
    try:
        reading = family.read(own)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise InputError(f"source {source}: the weights are not a whole {network}: {error} is missing") from error
    assumed = {name: value for name, value in reading.assumed.items() if name not in given}
    if "downsample" in given:
        assumed.pop("merging", None)
    if lacking := [name for name in ("img_size", "num_heads") if name in assumed and assumed[name] is None]:
        raise InputError(
            f"source {source}: no tensor shows {lacking[0]} of {network}; give it as settings.{lacking[0]}"
        )
    return Guess(network, reading.shown | assumed | dict(given), assumed, reading.shown["spatial_dims"], start)


def _encoder_alone(source: str, encoder: str) -> str:
    return (
        f"source {source}: the file holds an encoder alone ({encoder}), without a decoder; a transferability estimate "
        "reads the decoder's features, and a decoder that was never trained would be scored in its place"
    )
