"""Taps: the outputs of named modules, captured on every forward pass by hooks that are gone afterwards."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class Taps:
    """Captures what named modules put out, while it is entered.

    Args:
        network: the network.
        names: modules' names as `network.named_modules()` gives them, coarse to fine.

    Raises:
        ValueError: if there is no name, a name is given twice, or the network has no such module.

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
                raise ValueError(f"`taps` must be names of the network's modules, got {name!r}; like it: {near}")
        self._modules = {name: modules[name] for name in names}
        self._handles: list[RemovableHandle] = []
        self._captured: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._handles = [module.register_forward_hook(self._capture(name)) for name, module in self._modules.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._captured = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The modules' names, coarse to fine."""
        return tuple(self._modules)

    def take(self) -> list[Tensor]:
        """What the last forward pass put out; asking again needs another pass, so that nothing stale is read.

        Returns:
            (b, d, *map) of each tap, in the order of the names; a map of a network of two dimensions is (1, H, W).

        Raises:
            RuntimeError: if a tap was not reached since.
            TypeError: if a tap put out something else than a tensor.
        """
        captured, self._captured = self._captured, {}
        if unreached := [name for name in self._modules if name not in captured]:
            raise RuntimeError(f"`taps` must be reached by the forward pass, got {unreached} that are not")
        for name, output in captured.items():
            if not isinstance(output, Tensor):
                raise TypeError(f"`taps` must put out tensors, got {type(output).__name__} from {name!r}")
        return [captured[name].unsqueeze(2) if captured[name].ndim == 4 else captured[name] for name in self._modules]

    def _capture(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._captured[name] = output

        return hook
