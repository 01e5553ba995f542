"""Weights matched with a network: names, channels and classes from the weights; what does not fit is refused.

Every tensor of the network must be in the file, its segmentation head excepted, and every tensor of the file that
belongs to a module of the network must have its place there: a norm's weights that the network has no place for are
the sign that the file is of another network.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmark.errors import InputError
from benchmark.sources.networks.architecture import initial

Network = Callable[..., nn.Module]
Shapes = dict[str, tuple[int, ...]]

LOSSES = r"(.*\.)?\w*(loss|criterion)\w*\..*"  # buffers of a loss, such as class weights, that a training module holds
BACKBONE = r"(.+\.)?backbone\."  # a prefix that says that what stands beside it is no part of the network
COUNTER = "num_batches_tracked"  # of a batch norm; old files have none, and nothing that is computed here reads it
HEAD_CLASSES = 2  # channels of a head that the file does not have: it is built, and never read


@dataclass(frozen=True)
class Fit:
    """Weights that fit a network.

    Attributes:
        weights: The state dict under the network's own names.
        channels: Input channels.
        classes: Channels of the head.
        notes: What was taken off the names, and which tensors are not used.
        head: Whether the file has the segmentation head; without it `weights` holds zeros in its place.
    """

    weights: Mapping[str, Tensor]
    channels: int
    classes: int
    notes: tuple[str, ...]
    head: bool = True


@dataclass(frozen=True)
class Allowed:
    """Which differences between a file and its network are known to be harmless, as regular expressions of names.

    Attributes:
        extras: Tensors that may be left over.
        idle: Tensors that may be missing, since nothing reads them.
        whole: Whether a tensor beside the network's own modules is refused, too: right where the network was recognised
            by its tensors, unless its prefix says that it is a backbone; a network that the user names may be part of a
            larger file.
    """

    extras: str = ""
    idle: str = ""
    whole: bool = False


def fitted(
    network: Network,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    prefix: str | None = None,
    head: Sequence[str] = (),
    decoder: Sequence[str] = (),
    allowed: Allowed | None = None,
) -> Fit:
    """Match weights with a network.

    Args:
        network: The factory, `network(in_channels=..., out_channels=...)`.
        weights: A state dict, whose names may carry a prefix such as Lightning's "model.".
        source: The source's name, for errors.
        prefix: The names' prefix where several networks are in one file; None: the one that fits.
        head: The modules of the segmentation head, which may be missing as a whole.
        decoder: The modules of the decoder, for a clear word where a file holds an encoder alone.
        allowed: Known differences; None: none.

    Raises:
        InputError: Names or shapes do not fit, two networks would, or the weights are all zero or not finite.
    """
    allowed = allowed or Allowed()
    expected = shapes_of(network, channels=1, classes=HEAD_CLASSES)
    start = _prefix(expected, weights, source) if prefix is None else prefix
    own = {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
    channels = _count(1, expected, shapes_of(network, channels=2, classes=HEAD_CLASSES), own)
    classes = _count(HEAD_CLASSES, expected, shapes_of(network, channels=1, classes=HEAD_CLASSES + 1), own)
    built = skeleton(network, channels=channels, classes=classes)
    final = _shapes(built)
    own |= _shared(built, own, source)
    _check_decoder(final, own, decoder, built, source)
    own |= {
        name: torch.full(shape, float(name.endswith("weight"))) if not name.endswith(COUNTER) else torch.tensor(0)
        for name, shape in final.items()
        if name not in own and (re.fullmatch(allowed.idle, name) or name.endswith(COUNTER))
    }
    notes = [f"{start!r} is taken off the names"] if start else []
    headless = _lacks_head(final, own, head)
    if headless:
        notes.append(f"no segmentation head, since {listed([name for name in final if name not in own])} is missing")
        own |= {name: torch.zeros(shape) for name, shape in final.items() if name not in own}
    check_shapes(final, own, source)
    left = [name for name in own if name not in final]
    beside = [name for name in weights if not name.startswith(start)]
    _check_left(left, built, source, allowed)
    if allowed.whole and not re.fullmatch(BACKBONE, start):
        _check_left(beside, built, source, allowed)
    check_values({name: own[name] for name in final}, source)
    if unused := [*left, *beside]:
        notes.append(f"not used: {listed(unused)}")
    return Fit({name: own[name] for name in final}, channels, classes, tuple(notes), head=not headless)


class _Countable(TorchFunctionMode):
    """Keeps ranges of numbers on the CPU, since classes such as SwinUNETR read them while they are built."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in (torch.arange, torch.linspace):
            given.setdefault("device", "cpu")
        return func(*args, **given)


def skeleton(network: Network, *, channels: int, classes: int) -> nn.Module:
    """A network without drawing its weights, where its class allows that."""
    try:
        with torch.device("meta"), _Countable():
            made: nn.Module = network(in_channels=channels, out_channels=classes)
            return made
    except (RuntimeError, NotImplementedError):  # it computes with values while it is built
        return initial(network, channels=channels, classes=classes, seed=0)


def shapes_of(network: Network, *, channels: int, classes: int) -> Shapes:
    """Name -> shape of a network's tensors."""
    return _shapes(skeleton(network, channels=channels, classes=classes))


def _shapes(built: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in built.state_dict().items()}


def _prefix(expected: Shapes, weights: Mapping[str, Tensor], source: str) -> str:
    """What stands before the network's own names; nothing where they fit as they are."""
    first = next(iter(expected))
    starts = sorted(sorted({name[: -len(first)] for name in weights if name.endswith(first)}), key=len)
    starts = [start for start in starts if not start or start.endswith(".")]
    fits = {start: sum(f"{start}{name}" in weights for name in expected) for start in starts}
    best = [start for start in starts if fits[start] == max(fits.values())]
    if len(best) > 1:
        names = ", ".join(best)
        raise InputError(f"source {source}: the file holds several networks ({names}); say which by prefix=")
    return best[0] if best else ""


def _count(base: int, shapes: Shapes, more: Shapes, own: Mapping[str, Tensor]) -> int:
    """How many channels or classes the weights have, from the tensors that grow with them; `base` if none shows it."""
    for name, shape in shapes.items():
        grown = [axis for axis, (a, b) in enumerate(zip(shape, more[name], strict=True)) if a != b]
        if grown and name in own and own[name].ndim == len(shape):
            axis = grown[0]
            return max(1, base + (own[name].shape[axis] - shape[axis]) // (more[name][axis] - shape[axis]))
    return base


def _shared(built: nn.Module, own: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Tensors that the network lists under several names and the file under one, as safetensors files do.

    Raises:
        InputError: Two names of one tensor hold different values.
    """
    places: dict[int, list[str]] = {}
    for name, tensor in built.state_dict(keep_vars=True).items():
        places.setdefault(id(tensor), []).append(name)
    added: dict[str, Tensor] = {}
    for names in places.values():
        present = [name for name in names if name in own]
        for other in present[1:]:
            if not _same(own[present[0]], own[other]):
                raise InputError(
                    f"source {source}: {present[0]} and {other} are one tensor of the network and differ in the file"
                )
        if present:
            added |= {name: own[present[0]] for name in names if name not in own}
    return added


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() or torch.equal(one, other)


def _lacks_head(final: Shapes, own: Mapping[str, Tensor], head: Sequence[str]) -> bool:
    """Whether tensors of the head are missing from the file, and no others."""
    missing = [name for name in final if name not in own]
    return bool(missing) and all(any(name.startswith(f"{module}.") for module in head) for name in missing)


def encoder_alone(source: str, encoder: str) -> InputError:
    """The refusal of a file without a decoder."""
    return InputError(
        f"source {source}: the file holds an encoder alone ({encoder}), without a decoder; a transferability estimate "
        "reads the decoder's features, and a decoder that was never trained would be scored in its place"
    )


def _check_decoder(
    final: Shapes, own: Mapping[str, Tensor], decoder: Sequence[str], built: nn.Module, source: str
) -> None:
    """Refuse weights without any tensor of the decoder, in these words.

    Raises:
        InputError: There is none.
    """
    parts = [name for name in final if any(name.startswith(f"{module}.") for module in decoder)]
    if parts and not any(name in own for name in parts) and any(name in own for name in final):
        raise encoder_alone(source, type(built).__name__)


def _check_left(left: Sequence[str], built: nn.Module, source: str, allowed: Allowed) -> None:
    """Refuse weights with a tensor that belongs to the network and has no place in it.

    Raises:
        InputError: Naming the first few.
    """
    modules = {name for name, _ in built.named_modules() if name}
    known = f"{LOSSES}|{allowed.extras}" if allowed.extras else LOSSES
    strange = [name for name in left if not re.fullmatch(known, name)
               and (allowed.whole or name.rpartition(".")[0].partition(".")[0] in modules)]  # fmt: skip
    if strange:
        network = f"this {type(built).__name__}"
        advice = "; if it is no part of the network, say by prefix= what stands before the network's own names"
        raise InputError(
            f"source {source}: weights are not of {network}, which has no place for {listed(strange)}"
            + (advice if allowed.whole else "")
        )


def check_shapes(expected: Shapes, own: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that lack a tensor of the network, or have one of another shape.

    Raises:
        InputError: Naming the first few.
    """
    missing = [name for name in expected if name not in own]
    other = [f"{name} {tuple(own[name].shape)} for {shape}" for name, shape in expected.items()
             if name in own and tuple(own[name].shape) != shape]  # fmt: skip
    kinds = (("missing", missing), ("shape mismatch for", other))
    faults = [f"{kind} {listed(names)}" for kind, names in kinds if names]
    if faults:
        raise InputError(f"source {source}: weights do not match the network: {'; '.join(faults)}")


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
