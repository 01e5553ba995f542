"""NetworkStages: the modules whose outputs are the maps of a network's stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NetworkStages:
    """The modules whose outputs are the maps of a network's stages, each with its number of channels.

    Attributes:
        encoder: Fine to coarse; empty if unknown.
        decoder: Coarse to fine, without the bottleneck; empty if unknown.
        absent: Why one of them is empty.
    """

    encoder: Mapping[str, int] = field(default_factory=dict)
    decoder: Mapping[str, int] = field(default_factory=dict)
    absent: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all modules."""
        return tuple({**self.encoder, **self.decoder})
