"""Discover the stages of a network's encoder and decoder from a forward pass on shapes.

The decoder's stages are found as its taps are, from the finest map down, and all of them are taken. The encoder's stage
of a resolution is the last map of that resolution before the decoder first returns to it, that is, before the first
module that takes a coarser map and returns a map of a resolution seen before. Maps inside a block that takes a finer
map and returns a coarser one belong to no stage. Where the encoder's maps are made by upsampling tokens, as in UNETR,
these are its stages. The coarsest stage is the bottleneck, which is left out if no module returns it as a map.
Resolutions that the decoder does not return to have no stage.

MONAI's UNet joins the encoder's map to the upsampled one in a SkipConnection, so that in its decoder the stage of such
a resolution is this concatenation, the input of the next upsampling, with the channels of both.

A network whose decoder cannot be followed down to the coarsest map, because a step between two resolutions is no
module, has no stages, and neither has a part of which a stage's module runs several times.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

from monai.networks.layers.simplelayers import SkipConnection
from torch import Tensor, nn

from benchmark.errors import InputError, with_class
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
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.sources.networks.skeleton import skeleton
from benchmark.sources.networks.trace import Call, Trace, traced

UPSAMPLING = (nn.Upsample, nn.ConvTranspose2d, nn.ConvTranspose3d)


def stages_of(arch: Architecture, *, channels: int, classes: int) -> NetworkStages:
    """The stages of an architecture's network.

    Args:
        arch: The architecture.
        channels: Input channels.
        classes: Channels of the head.

    Returns:
        The stages; empty with the reason if the network's forward pass does not show any.

    Raises:
        InputError: A time limit is exceeded.
    """
    window = arch.fit((32, 32, 32))[-arch.dims :]
    try:
        built = skeleton(arch.network, channels=channels, classes=classes)
        trace = traced(arch.network, built, channels=channels, classes=classes, grids=[window])
    except InputError:  # an exceeded time limit
        raise
    except Exception as error:  # code of others may raise anything, which concerns the estimates over stages only
        return NetworkStages(absent=f"the network fails on a volume of {window} voxels: {with_class(error)}")
    first = finest_head(trace, arch.head)
    if first is None or not first.inputs:
        return NetworkStages(absent="no part of its head takes a map, from which the stages are followed")
    body = without_head(trace, arch.head)
    chain, risers = descend(body, first.inputs[0], before=first.start)
    if not risers:
        return NetworkStages(absent="no module before its head takes a coarse map and returns a finer one")
    if reason := _broken(body, chain[-1], risers[-1]):
        return NetworkStages(absent=reason)
    decoder = {name: int(tensor.shape[1]) for name, tensor in reversed(decoder_stages(body, chain))}
    return _usable(body, arch, _encoder(body, chain, risers[-1]), decoder)


def _usable(body: Trace, arch: Architecture, encoder: Mapping[str, int], decoder: Mapping[str, int]) -> NetworkStages:
    """The stages without those of a part that is not trained, or of which a module runs several times.

    A tap is a stage of a trained decoder, or of the encoder where the decoder is there for fine-tuning only.
    """
    parts, reasons = {"encoder": encoder, "decoder": decoder}, []
    if not set(arch.taps) <= set(decoder):
        parts["decoder"] = {}
        reasons.append("the source's taps are not its decoder's")
    counts = Counter(call.name for call in body.calls)
    for part, stages in parts.items():
        # of a module that runs several times, a tap has the output of the last run
        if repeated := [name for name in stages if counts[name] > 1]:
            parts[part] = {}
            reasons.append(f"module {repeated[0]} of its {part} runs {counts[repeated[0]]} times in a forward pass")
    missing = [f"no module returns a stage of its {part}" for part, stages in parts.items() if not stages]
    return NetworkStages(**parts, absent="; ".join(reasons) or "".join(missing[:1]))


def _broken(body: Trace, lowest: Tensor, step: Call) -> str:
    """Why the map that the decoder's first step takes is not the coarsest one of the network, or ""."""
    grid = tuple(lowest.shape[2:])
    earlier = [call for call in body.calls if call.end < step.start]
    # a map of a single voxel is the mean that a block of the encoder weights its channels by
    if coarser := [call for call in earlier if prod(call.grid) > 1 and _is_coarser(call.grid, grid)]:
        what = f"{coarser[-1].name} returned a map of {coarser[-1].grid} voxels before"
    elif steps := [call for call in earlier if call.grid == grid and _upsamples(body, call)]:
        what = f"{steps[0].name} upsamples to this size before"
    else:
        return ""
    return f"its decoder can be followed down to a map of {grid} voxels only, and {what}"


def _upsamples(body: Trace, call: Call) -> bool:
    """Whether a call is one of a decoder's layers although its map is no finer than the map that it takes."""
    return isinstance(body.network.get_submodule(call.name), UPSAMPLING) and not rises(call)


def _is_coarser(grid: Sequence[int], other: Sequence[int]) -> bool:
    return tuple(grid) != tuple(other) and all(n <= m for n, m in zip(grid, other, strict=True))


def _encoder(body: Trace, chain: Sequence[Tensor], lowest: Call) -> dict[str, int]:
    """Module -> channels of the encoder's stages, fine to coarse; `lowest` is the decoder's first step."""
    rising = [call for call in body.calls if rises(call)]
    falling = [call for call in body.calls if _falls(body, call)]
    maps = [call for call in body.calls if not any(other.holds(call) for other in rising)]
    last = [
        _stage(maps, falling, step) for step in (_first_return(body, maps, tensor) for tensor in chain[:-1]) if step
    ]
    if body.producers(chain[-1]):
        inner = [call for call in maps if not isinstance(body.network.get_submodule(call.name), SkipConnection)]
        last.append(_last(inner, lowest, grid=tuple(chain[-1].shape[2:])))
    stages = {stage_module(body, call.output): int(call.output.shape[1]) for call in last if call}
    return {name: width for name, width in stages.items() if name}


def _falls(body: Trace, call: Call) -> bool:
    """Whether a call takes a finer map than it returns, by way of no grid between the two."""
    finer = [tensor.shape[2:] for tensor in call.inputs if _is_coarser(call.grid, tensor.shape[2:])]
    inner = {other.grid for other in body.calls if call.holds(other)} if finer else set()
    return bool(finer) and not any(_is_coarser(call.grid, grid) and _is_coarser(grid, finer[0]) for grid in inner)


def _stage(maps: Sequence[Call], falling: Sequence[Call], step: Call) -> Call | None:
    """The last map before a step and outside of the falling calls, or inside one if there is no other."""
    outside = [call for call in maps if not any(other.holds(call) for other in falling)]
    return _last(outside, step) or _last(maps, step)


def _first_return(body: Trace, maps: Sequence[Call], tensor: Tensor) -> Call | None:
    """The first step up to the grid of a decoder's map at a time when there is a map of that grid."""
    steps = rising_steps(body, tuple(tensor.shape[2:]), before=max(call.end for call in body.calls) + 1)
    return min((step for step in steps if _last(maps, step)), key=lambda step: step.start, default=None)


def _last(maps: Sequence[Call], step: Call, grid: tuple[int, ...] | None = None) -> Call | None:
    """The last map of a grid, by default that of the step's output, before a step."""
    earlier = [call for call in maps if call.end < step.start and call.grid == (grid or step.grid)]
    return max(earlier, key=lambda call: call.end, default=None)
