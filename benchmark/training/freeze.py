"""Freeze parts of a network: fine-tuning trains all weights, the decoder, its last stage, or the head."""

from collections.abc import Sequence

from torch import nn

from benchmark.errors import InputError
from benchmark.sources.networks.architecture import Architecture

TUNE = ("all", "decoder", "last", "head")


def freeze(network: nn.Module, architecture: Architecture, *, tune: str) -> list[nn.Parameter]:
    """Freeze every weight that `tune` does not select.

    Args:
        network: The network; `requires_grad` of its parameters is set.
        architecture: The names of its parts.
        tune: "all", "decoder" (decoder and head), "last" (last decoder stage and head) or "head".

    Returns:
        The parameters to train.

    Raises:
        InputError: `tune` has another value.
    """
    if tune not in TUNE:
        raise InputError(f"trainer.tune must be one of {', '.join(TUNE)}, got {tune}")
    parts: Sequence[str] = {
        "all": ("",),
        "decoder": (*architecture.decoder, *architecture.head),
        "last": (*architecture.last, *architecture.head),
        "head": architecture.head,
    }[tune]
    network.requires_grad_(False)
    for part in parts:
        network.get_submodule(part).requires_grad_(True)
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
