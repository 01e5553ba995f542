"""Find the state dict in the content of a weights file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.errors import InputError, listed
from benchmark.sources.weights.averages import LIGHTNING, Averages, aligned, averages_under, split_by_prefix
from benchmark.sources.weights.inert import Inert, is_module, kinds_in, mapping_of

WRAPPERS = ("network_weights", "state_dict", "model_state_dict", "model", "network", "net", "weights", "module")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # of weights that can be used as they are
COMPILED = "_orig_mod."  # what torch.compile puts before the names of the module that it compiles
PARALLEL = "module."  # what DistributedDataParallel and AveragedModel put before every name
COUNTER = "n_averaged"  # of torch's AveragedModel
SAVE_AGAIN = (
    "if you trust it, load it with your own code and save only its weights: "
    "torch.save(model.state_dict(), 'weights.pth')"
)
GIGABYTE = 2**30
EXPANDED = 100  # bytes of a tensor per byte of its file, at most, where it is larger than a gigabyte


@dataclass(frozen=True)
class Unwrapped:
    """A state dict, and a note on each wrapper or prefix that was removed."""

    weights: dict[str, Tensor]
    notes: tuple[str, ...]


@dataclass
class _Content:
    """The innermost mapping of a file, what was opened on the way to it, and the EMA weights next to that."""

    inner: Mapping[Any, Any] | None
    notes: list[str] = field(default_factory=list)
    averages: dict[str, Mapping[Any, Any]] = field(default_factory=dict)


def unwrap(content: object, path: Path, *, ema: bool = False) -> Unwrapped:
    """Find the state dict in the content of a file.

    Args:
        content: The content, whose objects may be inert; the tensors of an inert module are its state dict.
        path: The file, for errors.
        ema: Take the EMA weights in place of the plain ones.

    Raises:
        InputError: There is no state dict, there are no EMA weights, or a tensor is of a kind that cannot be used.
    """
    opened = _opened(content, path)
    if not (opened.inner and _is_state(opened.inner)):
        if not opened.averages:
            raise InputError(_no_state(content, opened.inner, path))
        where, averaged = next(iter(opened.averages.items()))
        only = unwrap(averaged, path)
        return Unwrapped(
            only.weights, (f"EMA weights, under {where!r} in {path.name}, which has no others", *only.notes)
        )
    weights, names = _plain_names(_tensors(opened.inner))
    plain, averages = _pair(weights, opened, path)
    chosen, said = _chosen(plain, averages, path, ema=ema)
    _check_kinds(chosen, path)
    return Unwrapped(chosen, (*opened.notes, *names, *said))


def _opened(content: object, path: Path) -> _Content:
    opened = _Content(mapping_of(content))
    if isinstance(content, Inert) and is_module(content):
        opened.notes.append(f"{path.name} is {_whole(content)}")
    outer: list[object] = []
    while opened.inner is not None:
        opened.averages |= averages_under(opened.inner)
        name = _wrapper(opened.inner)
        if name is None:
            break
        if any(opened.inner is one for one in outer):
            raise InputError(f"{path} must hold a state dict, got a dict that holds itself under {name!r}")
        outer.append(opened.inner)
        value = opened.inner[name]
        place = f"under {name!r} in {path.name}"
        opened.notes.append(f"the weights are {place}" + (f", {_whole(value)}" if is_module(value) else ""))
        opened.inner = mapping_of(value)
    return opened


def _whole(module: Inert) -> str:
    return f"a whole module of class {module.kind}: its tensors are read, its code is not run"


def _no_state(content: object, inner: Mapping[Any, Any] | None, path: Path) -> str:
    """The error for a file without a state dict; objects that may hold it are named."""
    what = f"the keys {listed(list(map(str, inner)))}" if inner else type(content).__name__
    kinds = kinds_in(content)
    if not kinds:
        return f"{path} must hold a state dict, got {what}"
    what = what if inner else "no container"
    objects = f"objects of {listed(kinds)}, which are not created, since that would run code"
    return f"{path} must hold a state dict, got {what} with {objects}; {SAVE_AGAIN}"


def _wrapper(content: Mapping[Any, Any]) -> str | None:
    """The key of the state dict; tensors next to a mapping of tensors, such as class weights, are not part of it."""
    if all(isinstance(content.get(name), Mapping) for name in LIGHTNING):
        return LIGHTNING[0]
    named = {name: inner for name in WRAPPERS if (inner := mapping_of(content.get(name))) is not None}
    with_tensors = [name for name, inner in named.items() if _is_state(inner) or _wraps(inner)]
    return next(iter(with_tensors or ([] if _is_state(content) else named)), None)


def _wraps(content: Mapping[Any, Any]) -> bool:
    return any(mapping_of(content.get(name)) is not None for name in WRAPPERS)


def _is_state(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.ndim > 0 for value in content.values())


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {_printable(name): _plain_tensor(value) for name, value in content.items() if isinstance(value, Tensor)}


def _printable(name: object) -> str:
    """A tensor's name, with escapes in place of what is no Unicode text and cannot be printed or stored."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def _plain_tensor(tensor: Tensor) -> Tensor:
    """A tensor without its subclass, such as MONAI's MetaTensor, and without fields that a file sets on it."""
    if type(tensor) is Tensor and not vars(tensor):
        return tensor
    return Tensor.detach(Tensor.as_subclass(tensor, Tensor))


def _plain_names(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights without what torch's wrappers of modules put into the names, and notes."""
    notes = []
    if any(f".{COMPILED}" in f".{name}" for name in weights):
        weights = {f".{name}".replace(f".{COMPILED}", ".")[1:]: value for name, value in weights.items()}
        notes.append(f"{COMPILED!r} is taken off the names")
    own = {name: value for name, value in weights.items() if name != COUNTER}
    if own and len(own) < len(weights) and all(name.startswith(PARALLEL) for name in own):
        notes.append(f"an average of {int(weights[COUNTER])} states of the network")
        weights = own
    while weights and all(name.startswith(PARALLEL) for name in weights):
        weights = {name.removeprefix(PARALLEL): value for name, value in weights.items()}
        notes = [*notes, f"{PARALLEL!r} is taken off the names"]
    return weights, notes


def _pair(weights: dict[str, Tensor], opened: _Content, path: Path) -> tuple[dict[str, Tensor], Averages | None]:
    """The plain weights, and the first averages of the same network."""
    parts = split_by_prefix(weights)
    plain = parts.pop("") or weights
    for prefix, part in parts.items() if plain is not weights else ():
        pair = aligned(prefix, plain, {name.removeprefix(prefix): value for name, value in part.items()})
        if pair:  # whose counters, such as its number of updates, are next to the prefixes
            return {name: value for name, value in plain.items() if "." in name or value.ndim}, pair
    for where, content in opened.averages.items():
        inner = _opened(content, path).inner
        pair = aligned(where, weights, _plain_names(_tensors(inner or {}))[0])
        if pair:
            return weights, pair
    return weights, None


def _chosen(
    plain: dict[str, Tensor], averages: Averages | None, path: Path, *, ema: bool
) -> tuple[dict[str, Tensor], list[str]]:
    """The plain weights or the averages, and notes."""
    if averages is None:
        if ema:
            raise InputError(f"{path} has no EMA weights, which `ema: true` would take")
        return plain, []
    where = f"the EMA weights under {averages.where!r}"
    if not ema:
        return plain, [f"{where} are not used; the setting `ema: true` takes them"]
    notes = [f"{where} are used"]
    if rest := [name for name in plain if name not in averages.weights]:
        notes.append(f"not averaged, so taken from the plain weights: {listed(rest)}")
    return plain | dict(averages.weights), notes


def _check_kinds(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that a network could not use as they are, by their kind; values are not checked."""
    largest = max(GIGABYTE, EXPANDED * path.stat().st_size) if path.is_file() else None
    for name, tensor in weights.items():
        if kind := _unusable(name, tensor):
            rule = "weights must be dense tensors of float16, bfloat16, float32 or float64"
            raise InputError(f"{path}: {rule}, got {name}, which is {kind}")
        if largest and tensor.numel() * tensor.element_size() > largest:
            raise InputError(f"{path}: {name} has the shape {tuple(tensor.shape)}, which is far larger than the file")


def _unusable(name: str, tensor: Tensor) -> str:
    """The kind of a tensor that cannot be a weight or buffer; empty for usable ones, integer buffers included."""
    dtype, layout = (str(kind).removeprefix("torch.") for kind in (tensor.dtype, tensor.layout))
    is_whole_weight = tensor.ndim > 1 and (name.endswith("weight") or tensor.dtype == torch.int8)
    kinds = {
        "a meta tensor without values": tensor.is_meta,
        f"quantised ({dtype})": tensor.is_quantized,
        "a nested tensor": tensor.is_nested,
        f"sparse ({layout})": tensor.layout != torch.strided,
        dtype: tensor.dtype not in FLOATS if tensor.is_floating_point() else tensor.is_complex() or is_whole_weight,
    }
    return next((kind for kind, is_of_kind in kinds.items() if is_of_kind), "")
