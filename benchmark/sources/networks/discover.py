"""Discover the parts and layers of a network from a small forward pass.

The parts are the taps, the decoder, its last stage and the head.

The head is what changes shape with the number of classes, including the norm and activation before it if they are in
the same module. The finest tap is the head's input. In a decoder, some module takes a coarse map and returns a finer
one. The map that it takes is the next coarser tap, and so on down to the bottleneck, which is not a decoder stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from monai.networks.layers.simplelayers import SkipConnection
from torch import Tensor, nn

from benchmark.errors import InputError, one_line
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import STAGES, Architecture, is_within
from benchmark.sources.networks.skeleton import Network, shapes_of, skeleton
from benchmark.sources.networks.trace import FAILURES, Call, Trace, key, traced

SIDES = (32, 64, 96, 128)  # voxels of the volumes that are tried until the network accepts one


def discovered(
    name: str,
    network: Network,
    *,
    dims: int,
    channels: int = 1,
    size: int | Sequence[int] | None = None,
) -> Architecture:
    """Discover the parts of a network and return its architecture.

    Args:
        name: The architecture's name.
        network: The factory, `network(in_channels=..., out_channels=...)`.
        dims: 3 or 2.
        channels: Input channels.
        size: The only patch size that it accepts, a number for equal sides; None: any that is large enough.

    Raises:
        InputError: The network fails on all volumes tried, or has no head that depends on the classes.
    """
    size = [size] * dims if isinstance(size, int) else size
    built = skeleton(network, channels=channels, classes=2)
    wider = shapes_of(network, channels=channels, classes=3)
    head = _cover(built, {id(p) for at, p in built.named_parameters() if wider.get(at) != tuple(p.shape)})
    if not head:
        raise InputError(f"arch {name}: the network has no head, since out_channels changes none of its weights")
    only = None if size is None else tuple(size)[-dims:]
    trace = _pass(name, network, built, channels, [only] if only else [(side,) * dims for side in SIDES])
    built = trace.network
    head = [_with_activation(built, part, trace) for part in head]
    first = finest_head(trace, head)
    if first is None:
        raise InputError(f"arch {name}: no part of the head is called in a forward pass")
    body = without_head(trace, head)
    chain, risers = descend(body, first.inputs[0], before=first.start)
    taps = [name for name, _ in decoder_stages(body, chain)][:STAGES]
    coarsest = min((call.grid for call in trace.calls), key=prod)
    starts = [riser.start for riser in risers] or [first.start]
    return Architecture(
        name=name,
        network=network,
        taps=tuple(reversed(taps)),
        decoder=_tuned(built, body, head, since=starts[-1]),
        last=_tuned(built, body, head, since=starts[0]),
        head=tuple(head),
        width=int(chain[0].shape[1]),
        divisor=tuple(-(-n // c) for n, c in zip(trace.grid, coarsest, strict=True)),
        least=2,  # instance norm needs more than one voxel
        size=only,
        dims=dims,
    )


def _pass(name: str, network: Network, built: nn.Module, channels: int, grids: Sequence[tuple[int, ...]]) -> Trace:
    try:
        return traced(network, built, channels=channels, classes=2, grids=grids)
    except FAILURES as error:
        if isinstance(error, InputError):  # an exceeded time limit
            raise
        message = f"arch {name}: the network fails on a volume of {grids[-1]} voxels: {one_line(error)}"
        raise InputError(message) from error


def _cover(network: nn.Module, chosen: set[int]) -> list[str]:
    """The names of the largest modules all of whose weights are chosen, each module under its first name."""
    whole = [name for name, module in network.named_modules() if name and _all_in(module, chosen)]
    return [name for name in whole if not is_within(name.rpartition(".")[0], whole)]


def _all_in(module: nn.Module, chosen: set[int]) -> bool:
    """Whether all weights are chosen; a single number, such as PReLU's slope, follows the others."""
    owned = list(module.parameters())
    return any(id(p) in chosen for p in owned) and all(id(p) in chosen or p.numel() == 1 for p in owned)


def _with_activation(network: nn.Module, name: str, trace: Trace) -> str:
    """The parent of the head if it is a sequence of only norm, activation and head; else the head."""
    parent = name.rpartition(".")[0]
    if not parent or not isinstance(network.get_submodule(parent), nn.Sequential):
        return name
    named = network.get_submodule(parent).named_parameters()
    outside = [p for at, p in named if not is_within(f"{parent}.{at}", [name])]
    ends = any(call.name == parent and key(call.output) == key(trace.logits) for call in trace.calls)
    return parent if ends and all(p.ndim <= 1 for p in outside) else name


def finest_head(trace: Trace, head: Sequence[str]) -> Call | None:
    """The call of the head on the finest map, the last of several; None if no part of the head is called."""
    called = [call for call in trace.calls if call.name and is_within(call.name, head)]
    outer = [call for call in called if not any(other.holds(call) for other in called)]
    return max(outer, key=lambda call: (prod(call.grid), call.start), default=None)


def without_head(trace: Trace, head: Sequence[str]) -> Trace:
    """The calls of a trace without those of the head and of the network itself."""
    calls = [call for call in trace.calls if call.name and not is_within(call.name, head)]
    return Trace(trace.network, trace.grid, calls)


def decoder_stages(body: Trace, chain: Sequence[Tensor]) -> list[tuple[str, Tensor]]:
    """The modules that return the maps of a decoder, each with its map, fine to coarse, without the bottleneck.

    Args:
        body: The trace without the head.
        chain: The maps from the finest one down to the bottleneck's, as from `descend`.
    """
    stages = [stage_module(body, tensor) for tensor in chain]
    if len(stages) > 1 and not isinstance(body.network.get_submodule(stages[-1] or ""), SkipConnection):
        stages = stages[:-1]  # the bottleneck
    return [(name, tensor) for name, tensor in zip(stages, chain, strict=False) if name]


def descend(trace: Trace, finest: Tensor, *, before: int) -> tuple[list[Tensor], list[Call]]:
    """Follow the decoder from the finest map down: the maps of its stages, and the calls that upsample them."""
    chain, risers = [finest], []
    while (riser := _riser(trace, tuple(chain[-1].shape[2:]), before)) is not None:
        risers.append(riser)
        chain.append(_coarse(riser))
        before = riser.start
    return chain, risers


def _coarse(call: Call) -> Tensor:
    return min(call.inputs, key=lambda tensor: prod(tensor.shape[2:]))


def _riser(trace: Trace, grid: tuple[int, ...], before: int) -> Call | None:
    """The last and outermost call that takes a coarser map and returns a map of this grid."""
    return max(rising_steps(trace, grid, before=before), key=lambda call: call.end, default=None)


def rises(call: Call) -> bool:
    """Whether a call takes a coarser map than it returns."""
    return bool(call.inputs) and prod(_coarse(call).shape[2:]) < prod(call.grid)


def rising_steps(trace: Trace, grid: tuple[int, ...], *, before: int) -> list[Call]:
    """The outermost calls that take a coarser map and return a map of this grid, by way of no third grid."""
    rising = [call for call in trace.calls if call.grid == grid and call.end < before and rises(call)]
    steps = [call for call in rising if len({c.grid for c in trace.calls if call.holds(c)} - {grid}) <= 1]
    return [call for call in steps if not any(other.holds(call) for other in steps)]


def stage_module(trace: Trace, tensor: Tensor) -> str | None:
    """The outermost module that returns a map and has weights only at the map's grid."""
    network, producers = trace.network, trace.producers(tensor)
    at_grid = [
        call
        for call in producers
        if not any(
            call.holds(other) and other.grid != call.grid and _has_weights(network, other.name) for other in trace.calls
        )
    ]
    chosen = at_grid[-1:] or producers[:1]
    return chosen[0].name if chosen else None


def _has_weights(network: nn.Module, name: str) -> bool:
    return any(True for _ in network.get_submodule(name).parameters())


def _tuned(network: nn.Module, body: Trace, head: Sequence[str], *, since: int) -> tuple[str, ...]:
    """The largest modules outside the head whose weights were all used at or after a time."""
    used = {
        id(p) for call in body.calls if call.start >= since for p in network.get_submodule(call.name).parameters(False)
    }
    return tuple(name for name in _cover(network, used) if not is_within(name, head))


@dataclass(frozen=True)
class Layer:
    """A module whose output is a map; of several that return the same map, the outermost or the default tap.

    Attributes:
        name: The module's name.
        channels: d.
        step: Voxels of the input per voxel of the map, along each axis.
    """

    name: str
    channels: int
    step: tuple[int, ...]


def layers_of(model: Model) -> list[Layer]:
    """The layers in the order of a forward pass, without the head.

    Modules inside a block that computes at a single resolution are left out, and so are those without weights that are
    no taps.

    Raises:
        InputError: The forward pass fails.
    """
    arch = model.arch
    window = arch.fit((32, 32, 32))[-arch.dims :]
    channels, classes = model.channels, model.classes
    built = skeleton(arch.network, channels=channels, classes=classes)
    try:
        trace = traced(arch.network, built, channels=channels, classes=classes, grids=[window])
    except (RuntimeError, ValueError) as error:
        raise InputError(f"source {model.name}: the network fails on a volume of {window} voxels: {error}") from error
    weighted = {name for name, module in trace.network.named_modules() if any(True for _ in module.parameters())}
    calls = [call for call in trace.calls if call.name in weighted or call.name in arch.taps]
    calls = [
        call for call in calls if all(side and n % side == 0 for side, n in zip(call.grid, trace.grid, strict=True))
    ]
    blocks = [call for call in calls if all(call.grid == inner.grid for inner in calls if call.holds(inner))]
    layers: dict[object, Layer] = {}
    for call in calls:
        place, name = key(call.output), call.name
        in_block = any(block.holds(call) for block in blocks) and name not in arch.taps
        if in_block or place == key(trace.logits) or is_within(name, arch.head):
            continue
        if place not in layers or layers[place].name not in arch.taps:
            step = tuple(n // side for n, side in zip(trace.grid, call.grid, strict=True))
            layers[place] = Layer(name, int(call.output.shape[1]), step)
    return list(layers.values())
