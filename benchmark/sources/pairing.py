"""Pair a source with a target: choose the preparation of the volumes and adapt the input channels, or refuse."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmark.data.preprocessing.preparation import Preparation, follow
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import SkipPair
from benchmark.sources.model import Model
from benchmark.sources.networks.skeleton import shapes_of

TRIED = 32  # voxels per side of the image that an adapted network is checked with
ROUNDING = 1e-3  # of the largest logit: sums over channels in another order


@dataclass(frozen=True)
class Pair:
    """A source prepared for a target.

    Attributes:
        model: The source, adapted to the target's channels if necessary; its notes list the changes.
        preparation: How the target's volumes become its input.
    """

    model: Model
    preparation: Preparation


def paired(model: Model, target: Task, *, intensities: str, spacing: str) -> Pair:
    """Pair a source with a target.

    Args:
        model: The source.
        target: The target.
        intensities: Whose plan decides on intensities, "source" or "target".
        spacing: Whose plan decides on spacing, crop and axes, "source" or "target".

    Raises:
        SkipPair: They cannot be paired.
    """
    preparation = preparation_of(model, target.preparation, intensities=intensities, spacing=spacing)
    flat = model.arch.dims == 3 and target.first_case(Split.TRAIN, preparation).shape[0] == 1
    model = adapted(model, channels=target.channels, flat=flat)
    return Pair(replace(model, notes=(*model.notes, *_differences(model, preparation))), preparation)


def preparation_of(model: Model, target: Preparation, *, intensities: str, spacing: str) -> Preparation:
    """How a target's volumes become a source's input, from the target's own preparation; settings as in `paired`."""
    preparation = follow(model.preparation, target, intensities=intensities, spacing=spacing)
    if model.arch.dims == 2 and preparation.transpose is None:
        preparation = replace(preparation, transpose=(0, 1, 2))  # slices are taken along the first axis
    return preparation


def _differences(model: Model, preparation: Preparation) -> list[str]:
    """Notes on how the target's preparation differs from that of the source's own data."""
    own = model.preparation
    notes: list[str] = []
    if own and "spacing" not in own.unknown and own.spacing and own.spacing != preparation.spacing:
        seen = _millimetres(preparation.spacing) if preparation.spacing else "as stored"
        notes.append(f"trained at {_millimetres(own.spacing)}, sees the target {seen}")
    if own and "intensities" not in own.unknown and own.normalisation != preparation.normalisation:
        notes.append("intensities by the target's plan, not its own")
    return notes


def _millimetres(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing) + " mm"


def adapted(model: Model, *, channels: int, flat: bool) -> Model:
    """Adapt a source to a target's channels.

    A network with one input sees the mean of the target's channels: its first weights are repeated and divided by
    their number. A network with several inputs sees the target's only channel in each: its first weights are summed.

    Args:
        model: The source.
        channels: The target's channels.
        flat: Whether the target's images are 2D, (c, 1, H, W).

    Raises:
        SkipPair: The two cannot be paired.
    """
    if flat and model.arch.dims == 3:
        raise SkipPair(f"{model.name} is a 3D network, but the target's images are 2D")
    if channels == model.channels:
        return model
    if 1 not in (channels, model.channels):
        raise SkipPair(f"{model.name} takes {model.channels} channels, the target has {channels}, and neither is 1")
    first = {name: model.weights[name] for name in _first(model, channels)}
    if model.channels == 1:
        first = {name: w.expand(-1, channels, *w.shape[2:]).div(channels).contiguous() for name, w in first.items()}
        note = f"its one input sees the mean of the target's {channels} channels"
    else:
        first = {name: w.sum(dim=1, keepdim=True) for name, w in first.items()}
        note = f"each of its {model.channels} inputs sees the target's one channel"
    changed = replace(model, weights={**model.weights, **first}, channels=channels, notes=(*model.notes, note))
    if not _sees_the_same(model, changed):
        raise SkipPair(
            f"{model.name} reads its input outside its first convolutions, so it cannot be adapted to {channels}"
        )
    return changed


def _sees_the_same(model: Model, changed: Model) -> bool:
    """Whether the adapted network computes the maps of the source for the mean, or the only channel, of an image."""
    sides = model.arch.fit((TRIED, TRIED, TRIED))
    image = torch.randn(1, changed.channels, *sides, generator=torch.Generator().manual_seed(0))
    seen = image.mean(1, keepdim=True) if model.channels == 1 else image.expand(-1, model.channels, -1, -1, -1)
    own, other = _maps(model, seen), _maps(changed, image)
    return all(bool((a - b).abs().max() <= ROUNDING * a.abs().max()) for a, b in zip(own, other, strict=True))


def _maps(model: Model, image: Tensor) -> list[Tensor]:
    network, maps = model.network(), []
    for tap in model.arch.taps:
        network.get_submodule(tap).register_forward_hook(lambda _, __, output: maps.append(output))
    with torch.no_grad():
        return [network(image), *maps]


def _first(model: Model, channels: int) -> list[str]:
    """The tensors whose second axis counts input channels."""
    shapes = shapes_of(model.arch.network, channels=channels, classes=model.classes)
    if set(shapes) != set(model.weights):
        raise SkipPair(f"{model.name} has different layers for {channels} input channels, so it cannot be adapted")
    changed = [name for name, shape in shapes.items() if shape != tuple(model.weights[name].shape)]
    for name in changed:
        own = tuple(model.weights[name].shape)
        if shapes[name] != (own[0], channels, *own[2:]) or own[1] != model.channels:
            raise SkipPair(f"{model.name} mixes its input channels in {name}, so it cannot be adapted to {channels}")
    return changed
