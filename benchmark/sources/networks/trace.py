"""Trace a forward pass: the calls of a network's modules, with the shapes of their maps and which maps are the same.

No value is computed where the network allows that: its skeleton passes shapes on. The functions that take most of the
time of such a pass, as torch derives them from many others, are replaced by what they do to a shape.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from benchmark.errors import InputError
from benchmark.sources.networks.skeleton import Network, initial, is_skeleton

Key = tuple[int, int, tuple[int, ...]]
Grids = Sequence[tuple[int, ...]]

FAILURES = (RuntimeError, ValueError, TypeError, IndexError)  # of a network on a volume that it does not accept


@dataclass(frozen=True)
class Call:
    """A call of a module, with its input and output tensors."""

    name: str
    start: int  # counted over the starts and ends of all calls
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

    The last call is that of the network itself; `grid` has the voxels of the input along each axis.
    """

    network: nn.Module
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
    """The memory and shape of a tensor, which identify it within a trace: an in-place activation returns its input.

    A trace keeps all of its tensors, so that no memory is used twice. Without values there are no addresses.
    """
    return tensor.untyped_storage()._cdata, int(tensor.storage_offset()), tuple(tensor.shape)


def traced(network: Network, built: nn.Module, *, channels: int, classes: int, grids: Grids) -> Trace:
    """Trace a pass through the first volume that the network accepts.

    Args:
        network: The factory.
        built: Its skeleton, or the network itself.
        channels: Input channels.
        classes: Channels of the head.
        grids: Voxels of each volume along each axis.

    Returns:
        The trace of `built`, or of a network with initial weights if its pass needs values.

    Raises:
        RuntimeError, ValueError, TypeError, IndexError: The network fails on the last volume.
    """
    if is_skeleton(built):
        try:
            with _Shapes():
                return _first(built, channels, grids, device="meta")
        except InputError:  # an exceeded time limit
            raise
        except Exception:  # a pass may read values in any way, and fail in any way without them
            built = initial(network, channels=channels, classes=classes, seed=0)
    return _first(built, channels, grids, device="cpu")


def _first(network: nn.Module, channels: int, grids: Grids, *, device: str) -> Trace:
    for grid in grids[:-1]:
        try:
            return _run(network, (channels, *grid), device)
        except FAILURES as error:
            if isinstance(error, InputError) or _needs_values(error):
                raise
    return _run(network, (channels, *grids[-1]), device)


def _needs_values(error: Exception) -> bool:
    """Whether a pass failed because there are no values, and not because of the volume's size."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _run(network: nn.Module, shape: tuple[int, ...], device: str) -> Trace:
    """Pass a volume of noise, (c, *grid), through a network in eval mode and record the calls of its modules.

    Raises:
        ValueError: The network does not return a single map of its input's grid.
    """
    image = torch.randn((1, *shape), generator=torch.Generator().manual_seed(0)) if device == "cpu" else None
    image = torch.empty((1, *shape), device=device) if image is None else image
    trace = Trace(network, tuple(shape[1:]))
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


def _watch(name: str, module: nn.Module, trace: Trace, clock: Iterator[int]) -> list[RemovableHandle]:
    started: list[int] = []

    def begin(module: nn.Module, inputs: object) -> None:
        started.append(next(clock))

    def end(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        start = started.pop()
        if isinstance(output, Tensor) and output.ndim == len(trace.grid) + 2:
            given = tuple(item for item in inputs if isinstance(item, Tensor) and item.ndim == output.ndim)
            trace.calls.append(Call(name, start, next(clock), given, output))

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]


class _Shapes(TorchFunctionMode):
    """Replaces layers by what they do to a shape; torch is left to report shapes that do not fit."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        step = STEPS.get(func)
        result = step(func, args, given) if step and args and isinstance(args[0], Tensor) and args[0].is_meta else None
        return func(*args, **given) if result is None else result


def _mapped(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Tensor | None:
    """The output of a function that keeps the shape."""
    tensor: Tensor = args[0]
    return tensor if given.get("inplace") else torch.empty_like(tensor)


def _combined(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Tensor | None:
    """The sum or product of two tensors of equal shape, strides and dtype."""
    tensor, other = args[:2]
    if not isinstance(other, Tensor) or not other.is_meta:
        return None
    is_alike = (other.shape, other.dtype, other.stride()) == (tensor.shape, tensor.dtype, tensor.stride())
    in_place: Tensor = tensor
    return None if not is_alike else in_place if func in IN_PLACE else torch.empty_like(tensor)


def _normed(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Tensor | None:
    """The output of a norm whose weights have the input's channels, and whose input has more than one voxel."""
    tensor: Tensor = args[0]
    own = [given.get(name) for name in ("weight", "bias", "running_mean", "running_var")]
    if func is F.layer_norm:
        shape = tuple(args[1])
        fits = tuple(tensor.shape[-len(shape) :]) == shape
    else:
        shape = tuple(tensor.shape[1:2])
        fits = prod(tensor.shape[2:]) > 1
    fits = fits and all(weight is None or tuple(weight.shape) == shape for weight in own)
    return torch.empty_like(tensor, memory_format=torch.contiguous_format) if fits else None


def _multiplied(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Tensor | None:
    """The output of a linear layer."""
    tensor, weight = args[:2]
    fits = tensor.shape[-1] == weight.shape[-1]
    return tensor.new_empty((*tensor.shape[:-1], len(weight))) if fits else None


def _convolved(func: Any, args: Sequence[Any], given: Mapping[str, Any]) -> Tensor | None:
    """The output of a convolution of plain arguments, with the shape that torch documents.

    Args:
        func: The function.
        args: input (b, c, *grid), weight, bias, stride and padding; then dilation and groups, or of a transposed
            convolution output padding, groups and dilation.
        given: Further arguments by name.
    """
    is_transposed = func in TRANSPOSED
    if len(args) != (8 if is_transposed else 7) or not all(isinstance(item, int | tuple) for item in args[3:]):
        return None
    tensor, weight, _, stride, padding, *others = args
    added, groups, dilation = others if is_transposed else (0, others[1], others[0])
    settings = (
        [item] * (tensor.ndim - 2) if isinstance(item, int) else item for item in (stride, padding, added, dilation)
    )
    sides = []
    for n, k, step, pad, more, rate in zip(tensor.shape[2:], weight.shape[2:], *settings, strict=True):
        reach = rate * (k - 1) + 1
        sides.append((n - 1) * step - 2 * pad + reach + more if is_transposed else (n + 2 * pad - reach) // step + 1)
    widths = len(weight), weight.shape[1] * groups
    returned, taken = reversed(widths) if is_transposed else widths
    fits = tensor.ndim == weight.ndim and tensor.shape[1] == taken and min(sides) > 0
    return tensor.new_empty((len(tensor), returned, *sides)) if fits else None


Step = Callable[[Any, Sequence[Any], Mapping[str, Any]], Tensor | None]
IN_PLACE: set[Any] = {Tensor.add_, Tensor.mul_}
TRANSPOSED: set[Any] = {F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
STEPS: dict[Any, Step] = {
    **dict.fromkeys((F.gelu, F.leaky_relu, F.softmax, torch.roll), _mapped),
    **dict.fromkeys((Tensor.add, Tensor.mul, Tensor.sub, *IN_PLACE), _combined),
    **dict.fromkeys((F.batch_norm, F.group_norm, F.instance_norm, F.layer_norm), _normed),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d, *TRANSPOSED), _convolved),
    F.linear: _multiplied,
}
