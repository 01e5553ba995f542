"""Weights matched with a network: names, channels and classes from the weights themselves; misfits told in one line."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.sources.architecture import initial

Network = Callable[..., nn.Module]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Fit:
    """Weights that fit a network.

    Attributes:
        weights: The state dict under the network's own names.
        channels: Input channels.
        classes: Channels of the head.
        notes: What was taken off the names, and which tensors found no place.
    """

    weights: Mapping[str, Tensor]
    channels: int
    classes: int
    notes: tuple[str, ...]


def fitted(network: Network, weights: Mapping[str, Tensor], *, source: str, prefix: str | None = None) -> Fit:
    """Match weights with a network.

    Args:
        network: The factory, `network(in_channels=..., out_channels=...)`.
        weights: A state dict, whose names may carry a prefix such as Lightning's "model.".
        source: The source's name, for errors.
        prefix: The names' prefix where several networks are in one file; None: the one that fits.

    Raises:
        InputError: Names or shapes do not fit, two networks would, or the weights are all zero or not finite.
    """
    expected = shapes_of(network, channels=1, classes=2)
    start = _prefix(expected, weights, source) if prefix is None else prefix
    own = {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
    channels = _count(1, expected, shapes_of(network, channels=2, classes=2), own)
    classes = _count(2, expected, shapes_of(network, channels=1, classes=3), own)
    final = shapes_of(network, channels=channels, classes=classes)
    check_shapes(final, own, source)
    check_values(own, source)
    notes = [f"{start!r} is taken off the names"] if start else []
    if unused := [name for name in weights if name.removeprefix(start) not in final]:
        notes.append(f"not used: {listed(unused)}")
    return Fit({name: own[name] for name in final}, channels, classes, tuple(notes))


def shapes_of(network: Network, *, channels: int, classes: int) -> Shapes:
    """Name -> shape of a network's tensors, without drawing its weights where its class allows that."""
    try:
        with torch.device("meta"):
            built = network(in_channels=channels, out_channels=classes)
    except (RuntimeError, NotImplementedError):  # it computes with values while it is built
        built = initial(network, channels=channels, classes=classes, seed=0)
    return {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}


def _prefix(expected: Shapes, weights: Mapping[str, Tensor], source: str) -> str:
    """What stands before the network's own names; nothing where they fit as they are."""
    first = next(iter(expected))
    starts = sorted(sorted({name[: -len(first)] for name in weights if name.endswith(first)}), key=len)
    starts = [start for start in starts if not start or start.endswith(".")]
    fits = {start: sum(f"{start}{name}" in weights for name in expected) for start in starts}
    best = [start for start in starts if fits[start] == max(fits.values())]
    if len(best) > 1:
        raise InputError(f"source {source}: the weights must be of one network, got {', '.join(best)}; say prefix=")
    return best[0] if best else ""


def _count(base: int, shapes: Shapes, more: Shapes, own: Mapping[str, Tensor]) -> int:
    """How many channels or classes the weights have, from the tensors that grow with them; `base` if none tells."""
    for name, shape in shapes.items():
        grown = [axis for axis, (a, b) in enumerate(zip(shape, more[name], strict=True)) if a != b]
        if grown and name in own and own[name].ndim == len(shape):
            axis = grown[0]
            return max(1, base + (own[name].shape[axis] - shape[axis]) // (more[name][axis] - shape[axis]))
    return base


def check_shapes(expected: Shapes, own: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that lack a tensor of the network, or have one of another shape.

    Raises:
        InputError: Naming the first few.
    """
    missing = [name for name in expected if name not in own]
    other = [f"{name} {tuple(own[name].shape)} for {shape}" for name, shape in expected.items()
             if name in own and tuple(own[name].shape) != shape]  # fmt: skip
    told = [f"{word} {listed(names)}" for word, names in (("without", missing), ("with", other)) if names]
    if told:
        raise InputError(f"source {source}: the weights must fit the network, got them {'; '.join(told)}")


def check_values(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that no training gives.

    Raises:
        InputError: A tensor is not finite, or all matrices are zero.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise InputError(f"source {source}: the weights must be finite, got NaN or inf in {name}")
    if not any(bool(tensor.any()) for tensor in weights.values() if tensor.ndim > 1):
        raise InputError(f"source {source}: the weights must not be all zero, got {len(weights)} tensors of zeros")


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more
