"""Record a forward pass: the order of the modules' calls, with their inputs and outputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Key = tuple[int, tuple[int, ...]]  # address and shape of a tensor: an in-place activation returns its input


@dataclass(frozen=True)
class Call:
    """A call of a module.

    Attributes:
        name: The module's name.
        start: When it began, counted over the starts and ends of all calls.
        end: When it ended.
        inputs: The input tensors.
        output: The output tensor.
    """

    name: str
    start: int
    end: int
    inputs: tuple[Tensor, ...]
    output: Tensor

    @property
    def grid(self) -> tuple[int, ...]:
        """Voxels of the output along each axis."""
        return tuple(self.output.shape[2:])

    def holds(self, other: "Call") -> bool:
        """Whether another call happened within this call."""
        return self.start < other.start and other.end < self.end


@dataclass
class Trace:
    """The calls of modules that return a map (b, d, *grid), in the order in which they ended.

    Attributes:
        calls: The calls; the last is that of the network itself.
        grid: Voxels of the input along each axis.
    """

    grid: tuple[int, ...]
    calls: list[Call] = field(default_factory=list)

    @property
    def logits(self) -> Tensor:
        """The output of the network."""
        return self.calls[-1].output

    def producers(self, tensor: Tensor) -> list[Call]:
        """The first call that returned a tensor and the calls around it, innermost first."""
        same = [call for call in self.calls if key(call.output) == key(tensor)]
        return [call for call in same if call is same[0] or call.holds(same[0])]


def key(tensor: Tensor) -> Key:
    """A key that identifies a tensor within a trace, which keeps all of its tensors in memory."""
    return tensor.data_ptr(), tuple(tensor.shape)


def run(network: nn.Module, shape: tuple[int, ...]) -> Trace:
    """Pass a small volume of noise through a network and record the calls.

    Args:
        network: Takes (1, c, *grid); it is set to eval mode.
        shape: (c, *grid).

    Raises:
        ValueError: The network does not return a single map of its input's grid.
    """
    image = torch.randn((1, *shape), generator=torch.Generator().manual_seed(0))
    trace = Trace(tuple(shape[1:]))
    clock = iter(range(10**9))
    handles = [handle for name, module in network.named_modules() for handle in _watch(name, module, trace, clock)]
    try:
        with torch.no_grad():
            logits = network.eval()(image)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(logits, Tensor) or logits.shape[2:] != image.shape[2:]:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"`network` must return logits (1, k, *{trace.grid}), got {got}")
    return trace


def _watch(name: str, module: nn.Module, trace: Trace, clock: Iterator[int]) -> list[Any]:
    started: list[int] = []

    def begin(module: nn.Module, inputs: Any) -> None:
        started.append(next(clock))

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        start = started.pop()
        if isinstance(output, Tensor) and output.ndim == len(trace.grid) + 2:
            given = tuple(item for item in inputs if isinstance(item, Tensor) and item.ndim == output.ndim)
            trace.calls.append(Call(name, start, next(clock), given, output))

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
