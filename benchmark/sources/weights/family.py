"""A family of networks, whose state dicts are recognised by a tensor and rebuilt from names and shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmark.sources.networks.architecture import Architecture

Tensors = Mapping[str, Tensor]
Network = Callable[..., nn.Module]
Settings = dict[str, Any]

LATEST = "monai_1.5"  # how MONAI from 1.5.0 on merges patches in a 3D Swin UNETR; see `swin_merging`


@dataclass(frozen=True)
class Reading:
    """A network's settings: those that names and shapes show, and the assumed values of others, or None.

    `notes` are facts about the weights that a user should know, one line each.
    """

    shown: Settings
    assumed: Settings = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """A network class and how to recognise its state dicts; tensors are given as regular expressions.

    Attributes:
        mark: A tensor that only this class has.
        read: Infers the settings from the tensors, without their common prefix.
        decoder: The start of the names of the decoder's tensors.
        extras: Tensors of heads that are used in training only; they may be left over.
        idle: Tensors that the forward pass never reads; they may be missing.
        network: Builds the module from the settings, `in_channels` and `out_channels`; None: the class of
            monai.networks.nets with the family's name.
        renamed: Maps the tensors, without prefix, to the names of the module that is built; None: they are equal.
        notes: Facts about the network that a user should know, one line each.
        architecture: Names the network's parts, from the name, the factory and the settings; None: discovered.
    """

    mark: str
    read: Callable[[Tensors], Reading]
    decoder: str
    extras: str = ""
    idle: str = ""
    network: Callable[..., nn.Module] | None = None
    renamed: Callable[[Tensors], dict[str, Tensor]] | None = None
    notes: tuple[str, ...] = ()
    architecture: "Callable[[str, Network, Settings], Architecture] | None" = None

    def with_own_names(self, tensors: Tensors, prefix: str) -> dict[str, Tensor]:
        """The tensors with the names of the module that is built; those without the prefix are not changed."""
        if self.renamed is None:
            return dict(tensors)
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
        return others | {f"{prefix}{name}": tensor for name, tensor in self.renamed(own).items()}
