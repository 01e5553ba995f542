"""Which layers of a source can be tapped: every block that puts out a map, its channels and its resolution."""

from dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.trace import Call, Trace, key, run


@dataclass(frozen=True)
class Layer:
    """A module's output.

    Attributes:
        name: The module's name; of several that put out one map the outermost, or the one that is a default tap.
        channels: d.
        step: Voxels of the input for one of the map, along each axis.
    """

    name: str
    channels: int
    step: tuple[int, ...]


def layers_of(model: Model) -> list[Layer]:
    """The layers in the order in which a forward pass makes them, without the head.

    What is inside a block that computes at one resolution is left out, and so is what has no weights.

    Raises:
        InputError: The network does not run.
    """
    arch = model.arch
    window = arch.fit((32, 32, 32))[-arch.dims :]
    network = arch.bare(channels=model.channels, classes=model.classes)
    try:
        trace = run(network, (model.channels, *window))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"source {model.name}: the network must take {window} voxels, got: {error}") from error
    weighted = {name for name, module in network.named_modules() if any(True for _ in module.parameters())}
    calls = [call for call in trace.calls if call.name in weighted and _is_map(call, trace)]
    blocks = [call for call in calls if all(call.grid == inner.grid for inner in calls if call.holds(inner))]
    found: dict[object, Layer] = {}
    for call in calls:
        place, name = key(call.output), call.name
        in_block = any(block.holds(call) for block in blocks) and name not in arch.taps
        if in_block or place == key(trace.logits) or _is_within(name, arch.head):
            continue
        if place not in found or found[place].name not in arch.taps:
            step = tuple(n // side for n, side in zip(trace.grid, call.grid, strict=True))
            found[place] = Layer(name, int(call.output.shape[1]), step)
    return list(found.values())


def _is_map(call: Call, trace: Trace) -> bool:
    """Whether the output lies over the input's grid, as a transformer's tokens do not."""
    return all(side and n % side == 0 for side, n in zip(call.grid, trace.grid, strict=True))


def _is_within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)
