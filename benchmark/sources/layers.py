"""Which layers of a source can be tapped: every module that puts out a map, its channels and its resolution."""

from dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.trace import key, run


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
    """The layers in the order in which a forward pass makes them; those of the head are left out.

    Raises:
        InputError: The network does not run.
    """
    arch = model.arch
    window = arch.fit((32, 32, 32))[-arch.dims :]
    try:
        trace = run(arch.bare(channels=model.channels, classes=model.classes), (model.channels, *window))
    except (RuntimeError, ValueError) as error:
        raise InputError(f"source {model.name}: the network must take {window} voxels, got: {error}") from error
    found: dict[object, Layer] = {}
    for call in trace.calls[:-1]:
        if any(call.name == part or call.name.startswith(f"{part}.") for part in arch.head):
            continue
        if any(side == 0 or n % side for side, n in zip(call.grid, trace.grid, strict=True)):
            continue  # no map: a transformer's tokens, for one
        place = key(call.output)
        if place in found and found[place].name in arch.taps:
            continue
        step = tuple(n // side for n, side in zip(trace.grid, call.grid, strict=True))
        found[place] = Layer(call.name, int(call.output.shape[1]), step)
    return list(found.values())
