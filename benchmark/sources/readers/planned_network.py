"""The factory of a network that nnU-Net's plans describe.

Only classes of nnU-Net's network package and of torch.nn are imported, unless the source is trusted.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from torch import nn

from benchmark.sources.weights.safe_load import LAYERS, NETWORKS, literal, module_class

# of plans before nnU-Net 2.4, whose conversion names a module that the network package no longer has -> its new name
MOVED = {
    "dynamic_network_architectures.architectures.residual_unet.": "dynamic_network_architectures.architectures.unet."
}


def planned_network(parts: Mapping[str, Any], *, where: str, trust: bool = False) -> partial[nn.Module]:
    """The factory of the network that `architecture` in plans.json describes.

    Args:
        parts: `architecture`: the class, its arguments, and the names of those that are classes of layers.
        where: The file, for errors.
        trust: Allow classes of any package.

    Raises:
        InputError: A class is refused, or an argument is not a plain value.
    """
    cls = str(parts["network_class_name"])
    for old, new in MOVED.items():
        cls = cls.replace(old, new)
    module_class(cls, within=NETWORKS[1:], where=where, trust=trust)
    settings = dict(parts["arch_kwargs"])
    needed = list(parts["_kw_requires_import"])
    for name in needed:
        if settings.get(name) is not None:
            module_class(settings[name], within=LAYERS, where=f"{where}.{name}", trust=trust)
    literal(settings, where=where)
    return partial(network_by_plans, cls, settings, needed)


def network_by_plans(
    cls: str, settings: dict[str, object], needed: list[str], *, in_channels: int, out_channels: int
) -> nn.Module:
    """Build a network as nnU-Net does, from arguments that `planned_network` has checked; without deep supervision."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return cast(
        "nn.Module",
        get_network_from_plans(
            cls, settings, needed, in_channels, out_channels, allow_init=True, deep_supervision=False
        ),
    )
