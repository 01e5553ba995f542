"""Discover the stages of a network's encoder and decoder from a forward pass on shapes.

The decoder's stages are found as its taps are, from the finest map down, and all of them are taken. The encoder's stage
of a resolution is the last map of that resolution before the decoder first returns to it, that is, before the first
module that takes a coarser map and returns a map of a resolution that there was already. Where the encoder's maps are
made by upsampling tokens, as in UNETR, these are its stages. The coarsest stage is the bottleneck, which is left out if
no module returns it as a map. Resolutions that the decoder does not return to have no stage.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monai.networks.layers.simplelayers import SkipConnection
from torch import Tensor

from benchmark.errors import InputError, one_line
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import (
    decoder_stages,
    descend,
    finest_head,
    rises,
    rising_steps,
    stage_module,
    without_head,
)
from benchmark.sources.networks.skeleton import skeleton
from benchmark.sources.networks.trace import FAILURES, Call, Trace, traced


@dataclass(frozen=True)
class NetworkStages:
    """The modules whose outputs are the maps of a network's stages, each with its number of channels.

    Attributes:
        encoder: Fine to coarse; empty if unknown.
        decoder: Coarse to fine, without the bottleneck; empty if unknown.
        absent: Why one of them is empty.
    """

    encoder: Mapping[str, int] = field(default_factory=dict)
    decoder: Mapping[str, int] = field(default_factory=dict)
    absent: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all modules."""
        return tuple({**self.encoder, **self.decoder})


def stages_of(arch: Architecture, *, channels: int, classes: int) -> NetworkStages:
    """The stages of an architecture's network.

    Args:
        arch: The architecture.
        channels: Input channels.
        classes: Channels of the head.

    Returns:
        The stages; empty with the reason if the network's forward pass does not show any.
    """
    window = arch.fit((32, 32, 32))[-arch.dims :]
    built = skeleton(arch.network, channels=channels, classes=classes)
    try:
        trace = traced(arch.network, built, channels=channels, classes=classes, grids=[window])
    except FAILURES as error:
        if isinstance(error, InputError):  # an exceeded time limit
            raise
        return NetworkStages(absent=f"the network fails on a volume of {window} voxels: {one_line(error)}")
    first = finest_head(trace, arch.head)
    if first is None or not first.inputs:
        return NetworkStages(absent="no part of its head takes a map, from which the stages are followed")
    body = without_head(trace, arch.head)
    chain, risers = descend(body, first.inputs[0], before=first.start)
    if not risers:
        return NetworkStages(absent="no module before its head takes a coarse map and returns a finer one")
    encoder = _encoder(body, chain, risers[-1])
    decoder = {name: int(tensor.shape[1]) for name, tensor in reversed(decoder_stages(body, chain))}
    if arch.taps and set(arch.taps) <= set(encoder):  # the decoder is there for fine-tuning only
        return NetworkStages(encoder, {}, "its decoder is not pre-trained")
    missing = [name for name, found in (("encoder", encoder), ("decoder", decoder)) if not found]
    return NetworkStages(encoder, decoder, f"no module returns a stage of its {missing[0]}" if missing else "")


def _encoder(body: Trace, chain: Sequence[Tensor], lowest: Call) -> dict[str, int]:
    """Module -> channels of the encoder's stages, fine to coarse; `lowest` is the decoder's first step."""
    counts = Counter(call.name for call in body.calls)
    rising = [call for call in body.calls if rises(call)]
    maps = [call for call in body.calls if not any(other.holds(call) for other in rising)]
    last = [_last(maps, step) for step in (_first_return(body, maps, tensor) for tensor in chain[:-1]) if step]
    if body.producers(chain[-1]):
        inner = [call for call in maps if not isinstance(body.network.get_submodule(call.name), SkipConnection)]
        last.append(_last(inner, lowest, grid=tuple(chain[-1].shape[2:])))
    stages = {stage_module(body, call.output): int(call.output.shape[1]) for call in last if call}
    # of a module that is called several times, a tap has the output of the last call
    return {name: width for name, width in stages.items() if name and counts[name] == 1}


def _first_return(body: Trace, maps: Sequence[Call], tensor: Tensor) -> Call | None:
    """The first step up to the grid of a decoder's map at a time when there is a map of that grid."""
    steps = rising_steps(body, tuple(tensor.shape[2:]), before=max(call.end for call in body.calls) + 1)
    return min((step for step in steps if _last(maps, step)), key=lambda step: step.start, default=None)


def _last(maps: Sequence[Call], step: Call, grid: tuple[int, ...] | None = None) -> Call | None:
    """The last map of a grid, by default that of the step's output, before a step."""
    earlier = [call for call in maps if call.end < step.start and call.grid == (grid or step.grid)]
    return max(earlier, key=lambda call: call.end, default=None)
