"""Match weights with a network: names, channels and classes are inferred; weights that do not fit are refused.

Every tensor of the network must be in the file, except those of its segmentation head, and every tensor of the file
that belongs to a module of the network must have a place in it: norm weights without a place, for example, show that
the file is of another network.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError, listed
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture, by_setting, is_within
from benchmark.sources.networks.skeleton import Outline, Shapes, outline, shapes_of

LOSSES = r"(.*\.)?\w*(loss|criterion)\w*\..*"  # buffers of a training module's loss, such as class weights
BACKBONE = r"(.+\.)?backbone\."  # a prefix that shows that tensors without it are not part of the network
COUNTER = "num_batches_tracked"  # of a batch norm; old files have none, and nothing that is computed here reads it
HEAD_CLASSES = 2  # channels of a head that the file does not have: it is built, but never used


@dataclass(frozen=True)
class Fit:
    """Weights that fit a network, under its own names; attributes as in `Model`.

    Without a segmentation head in the file, `head` is False and `weights` has zeros in its place. The notes are the
    prefix removed from the names, and the unused tensors.
    """

    weights: Mapping[str, Tensor]
    channels: int
    classes: int
    notes: tuple[str, ...]
    head: bool = True

    def model(
        self,
        name: str,
        arch: Architecture,
        *,
        facts: Mapping[str, object],
        assumed: Mapping[str, object] | None = None,
        labels: Mapping[int, str] | None = None,
        preparation: Preparation | None = None,
        patch: Sequence[int] | None = None,
        notes: Sequence[str] = (),
    ) -> Model:
        """The source with these weights; `assumed` settings are a fact, and `notes` precede the fit's own."""
        return Model(
            name=name,
            arch=arch,
            weights=self.weights,
            channels=self.channels,
            classes=self.classes,
            labels=labels or {},
            preparation=preparation,
            patch=arch.fit(patch) if patch else None,
            facts={**facts, "assumed": assumptions(assumed)} if assumed else facts,
            notes=(*notes, *self.notes),
            head=self.head,
        )


def assumptions(assumed: Mapping[str, object]) -> str:
    """Format settings for notes.

    Example:
        >>> assumptions({"act": "relu", "strides": [2, 2]})
        'act = relu, strides = [2, 2]'
    """
    return ", ".join(f"{name} = {getattr(value, '__name__', value)}" for name, value in assumed.items())


def check_labels(labels: Mapping[int, str] | None, fit: Fit, source: str) -> dict[int, str]:
    """Check that there are as many labels as channels of the head, and return them.

    Raises:
        InputError: The numbers differ.
    """
    if labels and fit.head and len(labels) != fit.classes:
        raise InputError(f"source {source}: labels must name the head's {fit.classes} channels, got {len(labels)}")
    return {int(value): name for value, name in (labels or {}).items()}


@dataclass(frozen=True)
class Allowed:
    """The harmless differences between a file and its network, as regular expressions of names.

    Attributes:
        extras: Tensors that may be left over.
        idle: Tensors that may be missing, since nothing reads them.
        whole: Whether tensors outside the network's modules are refused, too, unless its prefix is that of a backbone;
            a network that the user names, rather than one recognised by its tensors, may be part of a larger file.
    """

    extras: str = ""
    idle: str = ""
    whole: bool = False


NOTHING = Allowed()


def fitted(
    arch: Architecture,
    weights: Mapping[str, Tensor],
    *,
    source: str,
    prefix: str | None = None,
    allowed: Allowed = NOTHING,
) -> Fit:
    """Match weights with a network; its segmentation head may be missing as a whole, its decoder may not.

    Args:
        arch: The network.
        weights: A state dict, whose names may have a prefix such as Lightning's "model.".
        source: The source's name, for errors.
        prefix: The names' prefix if the file has several networks; None: the one that fits.
        allowed: Harmless differences.

    Raises:
        InputError: Names or shapes do not fit, several networks would fit, or weights are all zero or not finite.
    """
    network = arch.network
    expected = shapes_of(network, channels=1, classes=HEAD_CLASSES)
    start = _prefix(expected, weights, source) if prefix is None else named_prefix(prefix, weights, source)
    own = {name.removeprefix(start): tensor for name, tensor in weights.items() if name.startswith(start)}
    classes = _count(HEAD_CLASSES, expected, shapes_of(network, channels=1, classes=HEAD_CLASSES + 1), own)
    if _has_shapes(own, shapes_of(network, channels=1, classes=classes)):
        channels = 1
    else:
        channels = _count(1, expected, shapes_of(network, channels=2, classes=HEAD_CLASSES), own)
    built = outline(network, channels=channels, classes=classes)
    final = built.shapes
    own |= _shared(built, own, source)
    parts = [name for name in final if is_within(name, arch.decoder)]
    if parts and not any(name in own for name in parts) and any(name in own for name in final):
        raise encoder_alone(source, built.kind)
    idle = [name for name in final if name not in own and re.fullmatch(allowed.idle, name)]
    own |= {name: torch.full(final[name], float(name.endswith("weight"))) for name in idle}
    own |= {name: torch.tensor(0) for name in final if name not in own and name.endswith(COUNTER)}
    notes = [f"{start!r} is taken off the names"] if start else []
    if idle:
        notes.append(f"missing, but never called by the network: {listed(idle)}")
    missing = [name for name in final if name not in own]
    headless = bool(missing) and all(is_within(name, arch.head) for name in missing)
    if headless:
        notes.append(f"no segmentation head, since {listed(missing)} is missing")
        own |= {name: torch.zeros(final[name]) for name in missing}
    check_shapes(final, own, source)
    left = [name for name in own if name not in final]
    outside = [name for name in weights if not name.startswith(start)]
    _check_left(left, built, source, allowed)
    if allowed.whole and not re.fullmatch(BACKBONE, start):
        _check_left(outside, built, source, allowed)
    check_values({name: own[name] for name in final}, source)
    if unused := [*left, *outside]:
        notes.append(f"not used: {listed(unused)}")
    return Fit({name: own[name] for name in final}, channels, classes, tuple(notes), head=not headless)


def named_prefix(prefix: str, weights: Mapping[str, Tensor], source: str) -> str:
    """The prefix that a user names, with the dot that ends it.

    Raises:
        InputError: No tensor has such a name.
    """
    dotted = f"{prefix}."
    whole = dotted if prefix and any(name.startswith(dotted) for name in weights) else prefix
    if any(name.startswith(whole) for name in weights):
        return whole
    first: list[str] = list(dict.fromkeys(f"{name.partition('.')[0]}." for name in weights if "." in name))
    raise InputError(
        f"source {source}: `prefix` must start the names of tensors, which start with {listed(first)}, got {prefix!r}"
    )


def _prefix(expected: Shapes, weights: Mapping[str, Tensor], source: str) -> str:
    """The prefix of the network's own names, with which most of them are in the file; empty if there is none."""
    first = next(iter(expected))
    starts = sorted(sorted({name[: -len(first)] for name in weights if name.endswith(first)}), key=len)
    starts = [start for start in starts if not start or start.endswith(".")]
    fits = {start: sum(f"{start}{name}" in weights for name in expected) for start in starts}
    best = [start for start in starts if fits[start] == max(fits.values())]
    if len(best) > 1:
        names = ", ".join(best)
        way_out = f"say which by {by_setting('prefix')}"
        raise InputError(f"source {source}: the file holds several networks ({names}); {way_out}")
    return best[0] if best else ""


def _has_shapes(own: Mapping[str, Tensor], shapes: Shapes) -> bool:
    return all(tuple(own[name].shape) == shape for name, shape in shapes.items() if name in own)


def _count(base: int, shapes: Shapes, more: Shapes, own: Mapping[str, Tensor]) -> int:
    """The channels or classes of the weights, from the tensors that grow with them; `base` if there is none."""
    for name, shape in shapes.items():
        grown = [axis for axis, (a, b) in enumerate(zip(shape, more[name], strict=True)) if a != b]
        if grown and name in own and own[name].ndim == len(shape):
            axis = grown[0]
            return max(1, base + (own[name].shape[axis] - shape[axis]) // (more[name][axis] - shape[axis]))
    return base


def _shared(built: Outline, own: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Tensors that the network lists under several names and the file under one, as safetensors files do."""
    added: dict[str, Tensor] = {}
    for names in built.shared:
        present = [name for name in names if name in own]
        for other in present[1:]:
            first, second = own[present[0]], own[other]
            if first.data_ptr() != second.data_ptr() and not torch.equal(first, second):
                raise InputError(
                    f"source {source}: {present[0]} and {other} are one tensor of the network and differ in the file"
                )
        if present:
            added |= {name: own[present[0]] for name in names if name not in own}
    return added


def encoder_alone(source: str, encoder: str) -> InputError:
    """The error for a file without a decoder."""
    return InputError(
        f"source {source}: the file contains only an encoder ({encoder}), without a decoder; a transferability "
        "estimate reads the decoder's features, and a decoder that was never trained would be scored in its place"
    )


def _check_left(left: Sequence[str], built: Outline, source: str, allowed: Allowed) -> None:
    """Refuse weights with a tensor that belongs to the network and has no place in it; the first few are named."""
    known = f"{LOSSES}|{allowed.extras}" if allowed.extras else LOSSES
    strange = [
        name
        for name in left
        if not re.fullmatch(known, name)
        and (allowed.whole or name.rpartition(".")[0].partition(".")[0] in built.modules)
    ]
    if strange:
        rule = "if it is no part of the network, say what stands before the network's own names"
        way_out = f"; {rule} by {by_setting('prefix')}"
        raise InputError(
            f"source {source}: weights are not of this {built.kind}, which has no place for "
            f"{listed(strange)}{way_out if allowed.whole else ''}"
        )


def check_shapes(expected: Shapes, own: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that lack a tensor of the network, or have one of another shape.

    Raises:
        InputError: The first few are named.
    """
    missing = [name for name in expected if name not in own]
    present = {name: (tuple(own[name].shape), shape) for name, shape in expected.items() if name in own}
    other = [f"{name} {actual} for {shape}" for name, (actual, shape) in present.items() if actual != shape]
    kinds = (("missing", missing), ("shape mismatch for", other))
    faults = [f"{kind} {listed(names)}" for kind, names in kinds if names]
    if faults:
        raise InputError(f"source {source}: weights do not match the network: {'; '.join(faults)}")


def check_values(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuse weights that no training gives.

    Raises:
        InputError: A tensor is not finite, or all matrices are zero.
    """
    places: set[object] = set()
    for name, tensor in weights.items():
        place = tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()
        if place not in places and tensor.is_floating_point() and not _is_finite(tensor):
            raise InputError(f"source {source}: the weights must be finite, got NaN or inf in {name}")
        places.add(place)  # a network may list a tensor under several names
    if not any(bool(tensor.any()) for tensor in weights.values() if tensor.ndim > 1):
        raise InputError(f"source {source}: the weights must not be all zero, got {len(weights)} tensors of zeros")


def _is_finite(tensor: Tensor) -> bool:
    """Whether all values are finite: those of a finite sum are, and a sum that overflows says nothing."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


@dataclass(frozen=True)
class Transfer:
    """The names of loaded tensors, of fresh ones with the reason, and of the source's tensors that are not used."""

    loaded: tuple[str, ...]
    fresh: Mapping[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        return f"{len(self.loaded)} tensors loaded, {len(self.fresh)} fresh, {len(self.unused)} unused"


def transfer(network: nn.Module, weights: Mapping[str, Tensor], *, head: Sequence[str]) -> Transfer:
    """Copy weights into a network, in place, where name and shape match; the modules in `head` keep their own."""
    state = network.state_dict()
    replaced = {tensor.data_ptr() for part in head for tensor in network.get_submodule(part).state_dict().values()}
    fresh: dict[str, str] = {}
    taken: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.data_ptr() in replaced:  # by storage, since a module may have several names
            fresh[name] = "head"
        elif name not in weights:
            fresh[name] = "not in the source"
        elif weights[name].shape != tensor.shape:
            fresh[name] = f"shape {tuple(tensor.shape)}, source has {tuple(weights[name].shape)}"
        else:
            taken[name] = weights[name]
    network.load_state_dict(taken, strict=False)
    return Transfer(tuple(taken), fresh, tuple(name for name in weights if name not in taken))
