"""A source shown to a target of other channels or dimensions: adapted as a user would expect and said, or refused."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmark.errors import SkipPair
from benchmark.sources.model import Model
from benchmark.sources.weights.match import shapes_of

TRIED = 32  # voxels a side of the image that an adapted network is tried with
ROUNDING = 1e-3  # of the largest logit: sums over channels in another order


def adapted(model: Model, *, channels: int, flat: bool) -> Model:
    """The source as it goes to a target.

    A network of one input sees the mean of a target's channels: its first weights are repeated and divided by their
    number. A network of several inputs sees a target's one channel in each of them: its first weights are summed.

    Args:
        model: The source.
        channels: The target's channels.
        flat: Whether the target's images are of two dimensions, (c, 1, H, W).

    Raises:
        SkipPair: The two cannot be paired.
    """
    if flat and model.arch.dims == 3:
        raise SkipPair(f"{model.name} is a network of three dimensions, the target's images have two")
    if channels == model.channels:
        return model
    if 1 not in (channels, model.channels):
        raise SkipPair(f"{model.name} takes {model.channels} channels, the target has {channels}, and neither is one")
    weights = dict(model.weights)
    for name in _first(model, channels):
        weights[name] = _spread(weights[name], channels) if model.channels == 1 else _gathered(weights[name])
    if model.channels == 1:
        note = f"its one input sees the mean of the target's {channels} channels"
    else:
        note = f"each of its {model.channels} inputs sees the target's one channel"
    changed = replace(model, weights=weights, channels=channels, notes=(*model.notes, note))
    if not _sees_the_same(model, changed):
        raise SkipPair(
            f"{model.name} reads its input outside its first convolutions, so it cannot be adapted to {channels}"
        )
    return changed


def _sees_the_same(model: Model, changed: Model) -> bool:
    """Whether an adapted network does with an image what the source does with its mean, or its one channel."""
    sides = model.arch.fit((TRIED, TRIED, TRIED))
    image = torch.randn(1, changed.channels, *sides, generator=torch.Generator().manual_seed(0))
    seen = image.mean(1, keepdim=True) if model.channels == 1 else image.expand(-1, model.channels, -1, -1, -1)
    own, other = _maps(model, seen), _maps(changed, image)
    return all(bool((a - b).abs().max() <= ROUNDING * a.abs().max()) for a, b in zip(own, other, strict=True))


def _maps(model: Model, image: Tensor) -> list[Tensor]:
    """What a model's taps and its head put out; the head alone may be untrained."""
    network, found = model.network(), []
    for tap in model.arch.taps:
        network.get_submodule(tap).register_forward_hook(lambda _, __, output: found.append(output))
    with torch.no_grad():
        return [network(image), *found]


def _first(model: Model, channels: int) -> list[str]:
    """The tensors whose second axis counts input channels."""
    shapes = shapes_of(model.arch.network, channels=channels, classes=model.classes)
    if set(shapes) != set(model.weights):
        raise SkipPair(f"{model.name} has other layers for {channels} input channels, so it cannot be adapted")
    changed = [name for name, shape in shapes.items() if shape != tuple(model.weights[name].shape)]
    for name in changed:
        own = tuple(model.weights[name].shape)
        if shapes[name] != (own[0], channels, *own[2:]) or own[1] != model.channels:
            raise SkipPair(f"{model.name} mixes its input channels in {name}, which cannot be adapted to {channels}")
    return changed


def _spread(weight: Tensor, channels: int) -> Tensor:
    return weight.expand(-1, channels, *weight.shape[2:]).div(channels).contiguous()


def _gathered(weight: Tensor) -> Tensor:
    return weight.sum(dim=1, keepdim=True)
