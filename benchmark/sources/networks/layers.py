"""List the layers of a source that can be tapped: every block that returns a map, its channels and its resolution."""

from dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.trace import Call, Trace, key, run


@dataclass(frozen=True)
class Layer:
    """A module's output.

    Attributes:
        name: The module's name; of several that return the same map, the outermost or the default tap.
        channels: d.
        step: Voxels of the input per voxel of the map, along each axis.
    """

    name: str
    channels: int
    step: tuple[int, ...]


def layers_of(model: Model) -> list[Layer]:
    """The layers in the order of a forward pass, without the head.

    Modules inside a block that computes at a single resolution are left out, and so are modules without weights.

    Raises:
        InputError: The forward pass fails.
    """
    arch = model.arch
    window = arch.fit((32, 32, 32))[-arch.dims :]
    network = arch.bare(channels=model.channels, classes=model.classes)
    try:
        trace = run(network, (model.channels, *window))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"source {model.name}: the network fails on a volume of {window} voxels: {error}") from error
    weighted = {name for name, module in network.named_modules() if any(True for _ in module.parameters())}
    calls = [call for call in trace.calls if call.name in weighted and _is_map(call, trace)]
    blocks = [call for call in calls if all(call.grid == inner.grid for inner in calls if call.holds(inner))]
    layers: dict[object, Layer] = {}
    for call in calls:
        place, name = key(call.output), call.name
        in_block = any(block.holds(call) for block in blocks) and name not in arch.taps
        if in_block or place == key(trace.logits) or _is_within(name, arch.head):
            continue
        if place not in layers or layers[place].name not in arch.taps:
            step = tuple(n // side for n, side in zip(trace.grid, call.grid, strict=True))
            layers[place] = Layer(name, int(call.output.shape[1]), step)
    return list(layers.values())


def _is_map(call: Call, trace: Trace) -> bool:
    """Whether the output is a map over the input's grid, unlike the tokens of a transformer."""
    return all(side and n % side == 0 for side, n in zip(call.grid, trace.grid, strict=True))


def _is_within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)
