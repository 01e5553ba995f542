"""Discover the parts of a network: taps, decoder, last stage and head, from a small forward pass.

The head is what changes shape with the number of classes, including the norm and activation before it if they are in
the same module. The finest tap is the head's input. In a decoder, some module takes a coarse map and returns a finer
one. The map that it takes is the next coarser tap, and so on down to the bottleneck, which is not a decoder stage.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from monai.networks.layers.simplelayers import SkipConnection
from torch import Tensor, nn

from benchmark.errors import InputError, one_line
from benchmark.sources.networks.architecture import Architecture, initial
from benchmark.sources.networks.trace import Call, Trace, key, run
from benchmark.sources.weights.match import Shapes, shapes_of

STAGES = 3  # CC-FV reads the inputs of the three finest heads
SIDES = (32, 64, 96, 128)  # voxels of the volumes that are tried until the network accepts one


@dataclass(frozen=True)
class Parts:
    """The names of a network's parts, as in Architecture.

    Attributes:
        taps: Decoder stages, coarse to fine.
        decoder: Modules of the decoder.
        last: Modules of its last stage.
        head: Modules of the head.
        width: Channels of the finest tap.
        divisor: Voxels of the input per voxel of the coarsest map, along each axis.
    """

    taps: tuple[str, ...]
    decoder: tuple[str, ...]
    last: tuple[str, ...]
    head: tuple[str, ...]
    width: int
    divisor: tuple[int, ...]


def discovered(
    name: str, network: Callable[..., nn.Module], *, dims: int, channels: int = 1, size: Sequence[int] | None = None
) -> Architecture:
    """Discover the parts of a network and return its architecture.

    Args:
        name: The architecture's name.
        network: The factory, `network(in_channels=..., out_channels=...)`.
        dims: 3 or 2.
        channels: Input channels.
        size: The only patch size that it accepts; None: any that is large enough.

    Raises:
        InputError: The network fails on all volumes tried, or has no head that depends on the classes.
    """
    built = initial(network, channels=channels, classes=2, seed=0)
    head = class_modules(built, shapes_of(network, channels=channels, classes=3))
    if not head:
        raise InputError(f"arch {name}: the network has no head, since out_channels changes none of its weights")
    trace = _pass(name, built, dims=dims, channels=channels, size=size)
    parts = find_parts(built, trace, head)
    return Architecture(
        name=name,
        network=network,
        taps=parts.taps,
        decoder=parts.decoder,
        last=parts.last,
        head=parts.head,
        width=parts.width,
        divisor=parts.divisor,
        least=2,  # instance norm needs more than one voxel
        size=None if size is None else tuple(size)[-dims:],
        dims=dims,
    )


def _pass(name: str, network: nn.Module, *, dims: int, channels: int, size: Sequence[int] | None) -> Trace:
    grids = [tuple(size)[-dims:]] if size is not None else [(side,) * dims for side in SIDES]
    for grid in grids:
        try:
            return run(network, (channels, *grid))
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if isinstance(error, InputError):  # an exceeded time limit
                raise
            reason = one_line(error)
    raise InputError(f"arch {name}: the network fails on a volume of {grids[-1]} voxels: {reason}")


def class_modules(network: nn.Module, other: Shapes) -> list[str]:
    """The largest modules all of whose weights change shape with the number of classes.

    Args:
        network: The network.
        other: The shapes of the same network's tensors with another number of classes.
    """
    changed = {id(p) for name, p in network.named_parameters() if other.get(name) != tuple(p.shape)}
    return _cover(network, lambda module: _all_in(module, changed))


def _all_in(module: nn.Module, chosen: set[int]) -> bool:
    """Whether all weights are chosen; a single number, such as PReLU's slope, follows the others."""
    owned = list(module.parameters())
    return any(id(p) in chosen for p in owned) and all(id(p) in chosen or p.numel() == 1 for p in owned)


def _cover(network: nn.Module, rule: Callable[[nn.Module], bool]) -> list[str]:
    """The names of the largest modules that meet a rule, each module under its first name."""
    found: list[str] = []
    first = {id(module): at for at, module in network.named_modules()}

    def walk(at: str, module: nn.Module) -> None:
        for child_name, child in module.named_children():
            path = f"{at}.{child_name}".lstrip(".")
            if first[id(child)] != path:  # listed before under another name
                continue
            if rule(child):
                found.append(path)
            else:
                walk(path, child)

    walk("", network)
    return found


def find_parts(network: nn.Module, trace: Trace, head: Sequence[str]) -> Parts:
    """Find the parts of a network in a trace.

    Args:
        network: The network.
        trace: A forward pass through it.
        head: The modules that change with the classes.
    """
    head = [_with_activation(network, name, trace) for name in head]
    called = [call for call in trace.calls if call.name and _inside(call.name, head)]
    outer = [call for call in called if not any(other.holds(call) for other in called)]
    first = max(outer, key=lambda call: (_voxels(call.grid), call.start))
    body = Trace(trace.grid, [call for call in trace.calls if call.name and not _inside(call.name, head)])
    chain, risers = _descend(body, first.inputs[0], before=first.start)
    stages = [_stage(network, body, tensor) for tensor in chain]
    if len(stages) > 1 and not isinstance(network.get_submodule(stages[-1] or ""), SkipConnection):
        stages = stages[:-1]  # the bottleneck
    taps = [name for name in stages if name][:STAGES]
    coarsest = min((call.grid for call in trace.calls), key=_voxels)
    starts = [riser.start for riser in risers] or [first.start]
    return Parts(
        taps=tuple(reversed(taps)),
        decoder=_tuned(network, body, head, since=starts[-1]),
        last=_tuned(network, body, head, since=starts[0]),
        head=tuple(head),
        width=int(chain[0].shape[1]),
        divisor=tuple(-(-n // c) for n, c in zip(trace.grid, coarsest, strict=True)),
    )


def _with_activation(network: nn.Module, name: str, trace: Trace) -> str:
    """The parent of the head if it is a sequence of only norm, activation and head; else the head."""
    parent = name.rpartition(".")[0]
    if not parent or not isinstance(network.get_submodule(parent), nn.Sequential):
        return name
    outside = [p for at, p in network.get_submodule(parent).named_parameters()
               if not _inside(f"{parent}.{at}", [name])]  # fmt: skip
    ends = any(call.name == parent and key(call.output) == key(trace.logits) for call in trace.calls)
    return parent if ends and all(p.ndim <= 1 for p in outside) else name


def _inside(name: str, parts: Sequence[str]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _voxels(grid: Sequence[int]) -> int:
    product = 1
    for side in grid:
        product *= side
    return product


def _descend(trace: Trace, finest: Tensor, *, before: int) -> tuple[list[Tensor], list[Call]]:
    """Follow the decoder from the finest map down: the maps of its stages, and the calls that upsample them."""
    chain, risers = [finest], []
    while (riser := _riser(trace, tuple(chain[-1].shape[2:]), before)) is not None:
        risers.append(riser)
        chain.append(_coarse(riser))
        before = riser.start
    return chain, risers


def _coarse(call: Call) -> Tensor:
    return min(call.inputs, key=lambda tensor: _voxels(tensor.shape[2:]))


def _riser(trace: Trace, grid: tuple[int, ...], before: int) -> Call | None:
    """The last and outermost call that takes a coarser map and returns a map of this grid."""
    rising = [
        call
        for call in trace.calls
        if call.grid == grid and call.end < before and call.inputs and _voxels(_coarse(call).shape[2:]) < _voxels(grid)
    ]
    steps = [call for call in rising if len({c.grid for c in trace.calls if call.holds(c)} - {grid}) <= 1]
    outer = [call for call in steps if not any(other.holds(call) for other in steps)]
    return max(outer, key=lambda call: call.end, default=None)


def _stage(network: nn.Module, trace: Trace, tensor: Tensor) -> str | None:
    """The outermost module that returns a map and has weights only at the map's grid."""
    producers = trace.producers(tensor)
    at_grid = [call for call in producers if not _coarser_weights(network, trace, call)]
    chosen = at_grid[-1:] or producers[:1]
    return chosen[0].name if chosen else None


def _coarser_weights(network: nn.Module, trace: Trace, call: Call) -> bool:
    return any(
        call.holds(inner)
        and inner.grid != call.grid
        and any(True for _ in network.get_submodule(inner.name).parameters())
        for inner in trace.calls
    )


def _tuned(network: nn.Module, body: Trace, head: Sequence[str], *, since: int) -> tuple[str, ...]:
    """The largest modules outside the head whose weights were all used at or after a time."""
    used = {
        id(p) for call in body.calls if call.start >= since for p in network.get_submodule(call.name).parameters(False)
    }
    names = _cover(network, lambda module: _all_in(module, used))
    return tuple(name for name in names if not _inside(name, head))
