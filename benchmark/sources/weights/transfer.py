"""Load a source's weights into a network for the target's classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Transfer:
    """The tensors that were loaded and those that were not.

    Attributes:
        loaded: Names of the loaded tensors.
        fresh: Name of each tensor that keeps its initial values -> reason.
        unused: Names of the source's tensors that were not loaded.
    """

    loaded: tuple[str, ...]
    fresh: Mapping[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """A one-line summary for logs."""
        return f"{len(self.loaded)} tensors loaded, {len(self.fresh)} fresh, {len(self.unused)} unused"


def transfer(network: nn.Module, weights: Mapping[str, Tensor], *, head: Sequence[str]) -> Transfer:
    """Copy every tensor whose name and shape match, except those of the head.

    Args:
        network: The network for the target; changed in place.
        weights: The source's state dict.
        head: Modules whose tensors keep their initial values even if the shapes match.

    Returns:
        The tensors that were loaded and those that were not.
    """
    state = network.state_dict()
    replaced = {tensor.data_ptr() for part in head for tensor in network.get_submodule(part).state_dict().values()}
    fresh: dict[str, str] = {}
    taken: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.data_ptr() in replaced:  # by storage, since a module may have several names
            fresh[name] = "head"
        elif name not in weights:
            fresh[name] = "not in the source"
        elif weights[name].shape != tensor.shape:
            fresh[name] = f"shape {tuple(tensor.shape)}, source has {tuple(weights[name].shape)}"
        else:
            taken[name] = weights[name]
    network.load_state_dict(taken, strict=False)
    return Transfer(tuple(taken), fresh, tuple(name for name in weights if name not in taken))
