"""The known families of networks; recognise one by the names and shapes in a state dict."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from benchmark.errors import InputError, with_class
from benchmark.sources.networks.architecture import by_setting
from benchmark.sources.weights import monai_settings
from benchmark.sources.weights.family import Family, Settings, Tensors
from benchmark.sources.weights.match import encoder_alone
from benchmark.sources.weights.monai_others import MONAI_OTHERS
from benchmark.sources.weights.nnunet_like import NNUNET_LIKE
from benchmark.sources.weights.not_read import NNUNET, NOT_READ, TEXT_HEAD, refuse
from benchmark.sources.weights.public_unets import PUBLIC_UNETS

MONAI: dict[str, Family] = {
    "DynUNet": Family(
        r"input_block\.conv1\.conv\.weight",
        monai_settings.read_dynunet,
        r"upsamples\.",
        extras=r"deep_supervision_heads\..*|skip_layers\.(next_layer\.)*super_head\..*",
    ),
    "SwinUNETR": Family(r"swinViT\.patch_embed\.proj\.weight", monai_settings.read_swin_unetr, r"decoder\d\."),
    "UNETR": Family(
        r"vit\.patch_embedding\.position_embeddings",
        monai_settings.read_unetr,
        r"decoder\d\.",
        idle=r"vit\.blocks\.\d+\.norm_cross_attn\..*",
    ),
    "SegResNet": Family(r"convInit\.conv\.weight", monai_settings.read_segresnet, r"up_(layers|samples)\."),
    "BasicUNet": Family(r"conv_0\.conv_0\.conv\.weight", monai_settings.read_basic_unet, r"upcat_\d\."),
    "VNet": Family(r"in_tr\.conv_block\.conv\.weight", monai_settings.read_vnet, r"up_tr\d+\."),
    "UNet": Family(
        r"model\.0\.conv\.(?:unit0\.conv\.)?weight", monai_settings.read_unet, r"model\.(1\.submodule\.)*2\."
    ),
}

DIMS = (2, 3)  # of networks that are read
FAMILIES = {**MONAI, **MONAI_OTHERS, **PUBLIC_UNETS, **NNUNET_LIKE}

# tensor of an encoder without a decoder, by a name that no network above has -> the encoder
ENCODERS = {
    r"(.*\.)?patch_embed\.proj\.weight": "a Swin transformer",
    r"(.*\.)?patch_embedding\.position_embeddings": "a vision transformer",
    r"(.*\.)?layer1\.0\.conv1\.weight": "a ResNet, such as MedicalNet's",
    r"(.*\.)?_conv_stem\.weight": "an EfficientNet",
}


@dataclass(frozen=True)
class Guess:
    """A network class and its settings.

    Attributes:
        network: The family's name, a key of `FAMILIES`.
        settings: Its arguments except in_channels and out_channels.
        assumed: Settings that no tensor shows -> the assumed value.
        dims: 3 or 2.
        prefix: The prefix of the network's own names.
        notes: Facts about the weights, one line each.
    """

    network: str
    settings: Settings
    assumed: Mapping[str, object]
    dims: int
    prefix: str = ""
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> Family:
        """The facts of the class."""
        return FAMILIES[self.network]

    def with_setting(self, name: str, value: object, *, certain: bool) -> "Guess":
        """Replace the value of an assumed setting, which is no longer assumed if it is certain."""
        assumed = {other: own for other, own in self.assumed.items() if other != name}
        assumed |= {} if certain else {name: value}
        return replace(self, settings=self.settings | {name: value}, assumed=assumed)


def current_names(tensors: Tensors) -> dict[str, Tensor]:
    """Rename tensors as in today's MONAI: up to 0.3 a convolution's norm and activation had other names.

    Example:
        >>> import torch
        >>> old = {"model.0.conv.weight": torch.ones(2, 1, 3, 3, 3), "model.0.act.weight": torch.ones(1)}
        >>> list(current_names(old))
        ['model.0.conv.weight', 'model.0.adn.A.weight']
    """
    return {_current(name, tensors): tensor for name, tensor in tensors.items()}


def first_names(tensors: Tensors) -> dict[str, Tensor]:
    """Rename each tensor of DynUNet to the first of its names, if the state dict does not have that name."""
    named = {_first_name(name, tensors): tensor for name, tensor in tensors.items()}
    return named | {name: tensor for name, tensor in tensors.items() if name in named}


def _current(name: str, tensors: Tensors) -> str:
    match = re.fullmatch(r"(.+)\.(norm|act)\.(\w+)", name)
    if match is None or f"{match[1]}.conv.weight" not in tensors:
        return name
    return f"{match[1]}.adn.{'N' if match[2] == 'norm' else 'A'}.{match[3]}"


def _first_name(name: str, tensors: Tensors) -> str:
    """The first name of a tensor of DynUNet, which lists each under two names; a file may have either or both.

    `skip_layers` nests the levels: `skip_layers.next_layer.downsample` is `downsamples.0`, and so on.
    """
    match = re.fullmatch(r"((?:.+\.)?)skip_layers\.((?:next_layer\.)*)(?:(downsample|upsample)\.)?(.+)", name)
    if match is None or match[4].startswith("super_head"):
        return name
    start, level = match[1], match[2].count("next_layer")
    nested = (other.removeprefix(start) for other in tensors if other.startswith(f"{start}skip_layers."))
    levels = max(other.count("next_layer.") + ("sample." in other) for other in nested)
    if match[3] is None:
        return f"{start}bottleneck.{match[4]}"
    if match[3] == "upsample":
        return f"{start}upsamples.{levels - 1 - level}.{match[4]}"
    return f"{start}downsamples.{level - 1}.{match[4]}" if level else f"{start}input_block.{match[4]}"


def guess(tensors: Tensors, *, source: str, given: Mapping[str, object]) -> Guess:
    """Infer the network's class and settings from the names and shapes of its tensors.

    Args:
        tensors: The state dict; its names may share a prefix.
        source: The source's name, for errors.
        given: The user's settings, which override the inferred ones.

    Raises:
        InputError: No known class has such names, the decoder is missing, or a necessary setting is unknown.
    """
    refuse(tensors, NOT_READ, source=source)
    matches = [
        (match[1], network)
        for network, family in FAMILIES.items()
        for name in tensors
        if (match := re.fullmatch(rf"((?:.+?\.)??){family.mark}", name))
    ]
    if len(matches) > 1:
        several = ", ".join(f"{start or 'no prefix'}: {network}" for start, network in sorted(matches))
        way_out = f"say which by {by_setting('prefix')}"
        raise InputError(f"source {source}: the file holds several networks ({several}); {way_out}")
    if matches:
        start, network = matches[0]
        return _read(network, tensors, start, source=source, given=given)
    refuse(tensors, (TEXT_HEAD, *NNUNET), source=source)
    for pattern, encoder in ENCODERS.items():
        if any(re.fullmatch(pattern, name) for name in tensors):
            raise encoder_alone(source, encoder)
    known, first = ", ".join(FAMILIES), next(iter(tensors), "none")
    raise InputError(
        f"source {source}: no network is known that has tensors such as {first}; known are {known}; name the "
        "network by `network:` or `factory:` in a yaml next to the file (inspect --schema), or by source=factory"
    )


def _read(network: str, tensors: Tensors, start: str, *, source: str, given: Mapping[str, object]) -> Guess:
    family = FAMILIES[network]
    own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    if not any(re.match(family.decoder, name) for name in own):
        raise encoder_alone(source, network)
    try:
        reading = family.read(own)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise InputError(f"source {source}: the weights are not a whole {network}: {error} is missing") from error
    except (TypeError, RuntimeError, ArithmeticError) as error:  # of a tensor with fewer axes than its layer has
        raise InputError(f"source {source}: a tensor has a shape that no {network} has: {with_class(error)}") from error
    assumed = {name: value for name, value in reading.assumed.items() if name not in given}
    if "downsample" in given:
        assumed.pop("merging", None)
    if lacking := [name for name in ("img_size", "num_heads") if name in assumed and assumed[name] is None]:
        raise InputError(
            f"source {source}: no tensor shows {lacking[0]} of {network}; give it as settings.{lacking[0]}: "
            f"{by_setting('settings')}"
        )
    dims = reading.shown.get("spatial_dims", 3)
    if dims not in DIMS:
        raise InputError(
            f"source {source}: the weights are of a {network} of {dims} dimensions, and only 2D and 3D ones are read"
        )
    return Guess(network, reading.shown | assumed | dict(given), assumed, dims, start, reading.notes)
