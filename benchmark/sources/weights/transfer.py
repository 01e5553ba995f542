"""Weights of a source taken over into a network for the target's classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Transfer:
    """What was taken over and what was not.

    Attributes:
        loaded: Names of the tensors taken over.
        fresh: Names of the network's tensors that keep their initial values, each with the reason.
        unused: Names of the source's tensors that found no place.
    """

    loaded: tuple[str, ...]
    fresh: Mapping[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """One line for logs."""
        return f"{len(self.loaded)} tensors loaded, {len(self.fresh)} fresh, {len(self.unused)} unused"


def transfer(network: nn.Module, weights: Mapping[str, Tensor], *, head: Sequence[str]) -> Transfer:
    """Copy every tensor whose name and shape agree, the head's excepted.

    Args:
        network: The network for the target; changed in place.
        weights: The source's state dict.
        head: Modules whose tensors keep their initial values even if the shapes agree.

    Returns:
        The report of what was and was not loaded.
    """
    state = network.state_dict()
    replaced = {tensor.data_ptr() for part in head for tensor in network.get_submodule(part).state_dict().values()}
    fresh: dict[str, str] = {}
    taken: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.data_ptr() in replaced:  # by storage, since a network may list one module under several names
            fresh[name] = "head"
        elif name not in weights:
            fresh[name] = "not in the source"
        elif weights[name].shape != tensor.shape:
            fresh[name] = f"shape {tuple(tensor.shape)}, source has {tuple(weights[name].shape)}"
        else:
            taken[name] = weights[name]
    network.load_state_dict(taken, strict=False)
    return Transfer(tuple(taken), fresh, tuple(name for name in weights if name not in taken))
