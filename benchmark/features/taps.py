"""Taps: capture the outputs of named modules during forward passes by temporary hooks."""

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Taps:
    """Context manager that captures the outputs of named modules.

    Args:
        network: network to observe.
        names: module names from `network.named_modules()`, coarse to fine.

    Raises:
        ValueError: if names are missing, repeated or unknown.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> with Taps(network, ["0"]) as taps:
        ...     _ = network(torch.zeros(5, 2))
        ...     [tuple(output.shape) for output in taps.take()]
        [(5, 3)]
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        modules = dict(network.named_modules())
        if not names or len(set(names)) != len(names):
            raise ValueError(f"`taps` must be distinct names of modules, got {list(names)}")
        for name in names:
            if name not in modules:
                near = ", ".join(get_close_matches(name, modules, n=4, cutoff=0.3)) or "none"
                raise ValueError(f"`taps` must be names of the network's modules, got {name!r}; similar: {near}")
        self._modules = {name: modules[name] for name in names}
        self._handles: list[RemovableHandle] = []
        self._captured: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._handles = [
            module.register_forward_hook(partial(self._capture, name)) for name, module in self._modules.items()
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._captured = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Module names, coarse to fine."""
        return tuple(self._modules)

    def take(self) -> list[Tensor]:
        """Return the outputs of the last forward pass; each pass can be read once, so that no stale output is used.

        Returns:
            (b, d, *map) for each tap, in the order of the names; the map of a 2D network is (1, H, W).

        Raises:
            RuntimeError: if the forward pass did not call a tapped module.
            TypeError: if the output of a tap is not a tensor.
        """
        captured, self._captured = self._captured, {}
        if unreached := [name for name in self._modules if name not in captured]:
            raise RuntimeError(f"`taps` must name modules that the forward pass calls, got {unreached}")
        for name, output in captured.items():
            if not isinstance(output, Tensor):
                kind = type(output).__name__
                raise TypeError(f"`taps` must name modules that return tensors, got {kind} from {name!r}")
        return [captured[name].unsqueeze(2) if captured[name].ndim == 4 else captured[name] for name in self._modules]

    def _capture(self, name: str, module: nn.Module, inputs: object, output: object) -> None:
        self._captured[name] = output
