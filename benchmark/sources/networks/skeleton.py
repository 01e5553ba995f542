"""Build a network without drawing its initial weights: for its names and shapes, or to load weights into it.

A skeleton is a network on torch's meta device, whose tensors have shapes and no values. A class that reads a tensor's
values while it is built cannot have one and is built with initial weights instead.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from benchmark.errors import InputError

Network = Callable[..., nn.Module]
Shapes = dict[str, tuple[int, ...]]

# what sets or scales initial values in place, and takes most of the time of building a skeleton
VALUES = {
    *(init.constant_, init.kaiming_normal_, init.kaiming_uniform_, init.normal_, init.uniform_),
    *(Tensor.add_, Tensor.clamp_, Tensor.erfinv_, Tensor.fill_, Tensor.mul_, Tensor.normal_),
    *(Tensor.uniform_, Tensor.zero_),
}
STEPS = (torch.linspace,)  # on the CPU, since many classes read the rates of dropped paths while they are built
RANGES = (*STEPS, torch.arange)  # which fewer read
DRAWS = (torch.rand, torch.randn)  # of tensors outside the state dict, as in DynUNet


def initial(network: Callable[..., object], *, channels: int, classes: int, seed: int) -> nn.Module:
    """Build a network with initial weights drawn from `seed` only; torch's global generator is left unchanged.

    Raises:
        TypeError: The factory does not return a module.
    """
    with torch.random.fork_rng(devices=[]):  # torch draws initial weights from its global generator
        torch.manual_seed(seed)
        made = network(in_channels=channels, out_channels=classes)
    if not isinstance(made, nn.Module):
        raise TypeError(f"`network` must return a torch module, got {type(made).__name__}")
    return made


@dataclass(frozen=True)
class Outline:
    """The names in a network.

    Attributes:
        kind: The name of its class.
        shapes: Name -> shape of each tensor of its state dict.
        modules: Names of its modules.
        shared: The names of each tensor that has several.
    """

    kind: str
    shapes: Shapes
    modules: frozenset[str]
    shared: tuple[tuple[str, ...], ...]


# of one factory, whose network depends on its arguments only: opening a source compares several of the same network
_outlines: WeakKeyDictionary[Network, dict[tuple[int, int], Outline]] = WeakKeyDictionary()


def outline(network: Network, *, channels: int, classes: int) -> Outline:
    """The names in a network, which is built at most once while its factory is in use."""
    known = _known_outlines(network).get((channels, classes))
    return known or _outline(skeleton(network, channels=channels, classes=classes))


def _known_outlines(network: Network) -> dict[tuple[int, int], Outline]:
    try:
        return _outlines.setdefault(network, {})
    except TypeError:  # a callable object that cannot be a key
        return {}


def shapes_of(network: Network, *, channels: int, classes: int) -> Shapes:
    """Name -> shape of a network's tensors."""
    return outline(network, channels=channels, classes=classes).shapes


def skeleton(network: Network, *, channels: int, classes: int) -> nn.Module:
    """Build a network without values, or with initial weights if its class needs values.

    Raises:
        TypeError: The factory does not return a module.
    """
    attempts = (_Skeletal(on_cpu).build(network, channels=channels, classes=classes) for on_cpu in (STEPS, RANGES))
    built = next((made for made in attempts if made is not None), None)
    if built is None:
        built = initial(network, channels=channels, classes=classes, seed=0)
    _known_outlines(network)[channels, classes] = _outline(built)
    return built


def is_skeleton(network: nn.Module) -> bool:
    """Whether a network has weights or buffers without values."""
    return any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))


def to_fill(network: Network, *, channels: int, classes: int) -> nn.Module:
    """Build a network all of whose weights and buffers are replaced next, by loading a whole state dict.

    Returns:
        A skeleton; or a network with initial weights if its state dict does not hold all values, as with buffers that
        are not persistent, or if its modules share weights.
    """
    mode = _Skeletal(RANGES + DRAWS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = mode.build(network, channels=channels, classes=classes)
    if built is None or not _is_all_in_state(built) or mode.has_others(built):
        return initial(network, channels=channels, classes=classes, seed=0)
    return built


class _Skeletal(TorchFunctionMode):
    """Builds on the meta device, except what some functions return, and remembers the tensors that appear."""

    def __init__(self, on_cpu: Sequence[Callable[..., Tensor]]) -> None:
        super().__init__()
        self._on_cpu = on_cpu
        self._made: list[ref[Tensor]] = []

    def build(self, network: Network, *, channels: int, classes: int) -> nn.Module | None:
        """The network without values; None if its class needs them, or cannot be built at all."""
        try:
            with torch.device("meta"), self:
                made = network(in_channels=channels, out_channels=classes)
        except InputError:  # an exceeded time limit
            raise
        except Exception:  # a class may read values in any way, and fail in any way without them
            return None
        return made if isinstance(made, nn.Module) else None

    def has_others(self, network: nn.Module) -> bool:
        """Whether a tensor without values is still in use that shares no memory with the network's state dict."""
        known = {tensor.untyped_storage()._cdata for tensor in network.state_dict(keep_vars=True).values()}
        alive = [tensor for made in self._made if (tensor := made()) is not None and tensor.is_meta]
        return any(tensor.untyped_storage()._cdata not in known for tensor in alive)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in VALUES:
            tensor = args[0] if args else given.get("tensor")
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        if func in self._on_cpu:
            given.setdefault("device", "cpu")
        result = func(*args, **given)
        self._made += [ref(tensor) for tensor in _tensors(result)]
        return result


def _tensors(result: object) -> Iterator[Tensor]:
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, list | tuple):
        yield from (item for item in result if isinstance(item, Tensor))


def _is_all_in_state(network: nn.Module) -> bool:
    """Whether each weight and buffer belongs to one module and is in the state dict."""
    state = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    own = [
        tensor
        for module in network.modules()
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    ]
    return len({id(tensor) for tensor in own}) == len(own) and {id(tensor) for tensor in own} == state


def _outline(built: nn.Module) -> Outline:
    state = built.state_dict(keep_vars=True)
    places: dict[int, list[str]] = {}
    for name, tensor in state.items():
        places.setdefault(id(tensor), []).append(name)
    return Outline(
        kind=type(built).__name__,
        shapes={name: tuple(tensor.shape) for name, tensor in state.items()},
        modules=frozenset(name for name, _ in built.named_modules() if name),
        shared=tuple(tuple(names) for names in places.values() if len(names) > 1),
    )
