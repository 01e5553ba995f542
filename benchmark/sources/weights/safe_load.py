"""Read untrusted files: tensors, plain values and network classes of known packages; code in a file is never run.

A .pth file is a pickle, and a pickle can call any function. torch's own reader with `weights_only` refuses all but
tensors and containers. The classes allowed below are also in checkpoints of nnU-Net and Lightning: numpy numbers of
their training curves, and argparse's plain record of settings.
"""

import argparse
import importlib
import inspect
import pickle
import pydoc
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import InputError, SkipPair, one_line
from benchmark.sources.networks.architecture import is_within, listed
from benchmark.storage.digest import file_digest
from benchmark.storage.digest_memory import remembered

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
TORCHSCRIPT = (
    "a TorchScript program, which would run code and is not read; load it where you trust it with torch.jit.load, and "
    "save its state_dict() with torch.save"
)
WRAPPERS = ("network_weights", "state_dict", "model_state_dict", "model", "network", "net", "weights")
SAVED = (b"PK", b"\x80")  # how a file that torch.save wrote begins: a zip archive, or a pickle
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # of weights that can be used as they are
COMPILED = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before every name
NETWORKS = ("monai.networks.nets", "dynamic_network_architectures")  # packages whose network classes are imported
LAYERS = ("torch.nn", "dynamic_network_architectures")
BROKEN = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # what values of the wrong type cause


@dataclass(frozen=True)
class Unwrapped:
    """A state dict, and a note on each wrapper or prefix that was removed."""

    weights: dict[str, Tensor]
    notes: tuple[str, ...]


def read_weights(path: Path) -> Any:
    """Read a .safetensors file, or a file that torch.save wrote.

    Raises:
        InputError: The file is missing, cut short or no weights file, holds a program, or its pickle asks for code.
    """
    if not path.is_file():
        raise InputError(f"weights file {path} not found")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path} must be a safetensors file, got: {one_line(error)}") from error
    if is_torchscript(path):  # which torch.load would hand to torch.jit.load
        raise InputError(f"cannot read {path}: {TORCHSCRIPT}")
    try:
        with torch.serialization.safe_globals(_allowed()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make torch's reader raise anything
        raise InputError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    """Explain in one line why torch cannot read a file."""
    plain = f"cannot read {path}: not a file that torch.save wrote"
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except OSError as refused:
        return f"cannot read {path}: {refused.strerror}"
    if not start:
        return f"{plain}, it is empty"
    if not start.startswith(SAVED):
        return plain
    if isinstance(error, pickle.UnpicklingError):
        return f"{path} must hold tensors and plain values only, got {_refused(error)}"
    return f"{plain}, or cut short: {one_line(error)}"


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code, as torch.jit.save writes it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _allowed() -> list[Any]:
    numbers = (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)
    scalar = np.float64(0).__reduce__()[0]
    return [
        (scalar, "numpy._core.multiarray.scalar"),
        (scalar, "numpy.core.multiarray.scalar"),  # written by numpy 1
        np.dtype,
        *{type(np.dtype(number)) for number in numbers},
        argparse.Namespace,
    ]


def _refused(error: Exception) -> str:
    global_name = re.search(r"GLOBAL (\S+)|(?:function|class|global)s? `?([\w.]+\.[\w]+)`?", str(error))
    if global_name is None:
        return "a pickle of another kind than torch.save writes; it could run code and is refused"
    return f"a pickle that asks for {global_name[1] or global_name[2]}; it could run code and is refused"


def read_state(path: Path) -> Unwrapped:
    """Read a file's state dict.

    Raises:
        InputError: As for `read_weights` and `unwrap`.
    """
    return unwrap(read_weights(path), path)


def unwrap(content: object, path: Path) -> Unwrapped:
    """Find the state dict in the content of a file.

    Args:
        content: The return value of `read_weights`.
        path: The file, for errors.

    Raises:
        InputError: There is no state dict, or a tensor is of a kind that cannot be used as it is.
    """
    notes: list[str] = []
    opened: list[object] = []
    while isinstance(content, Mapping) and (inner := _wrapper(content)):
        if any(content is outer for outer in opened):
            raise InputError(f"{path} must hold a state dict, got a dict that holds itself under {inner!r}")
        opened.append(content)
        notes.append(f"the weights are under {inner!r} in {path.name}")
        content = content[inner]
    if isinstance(content, Mapping) and content and not _is_state(content):
        raise InputError(f"{path} must hold a state dict, got the keys {listed(list(map(str, content)))}")
    if not isinstance(content, Mapping) or not content:
        raise InputError(f"{path} must hold a state dict, got {type(content).__name__}")
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    _check_kinds(weights, path)
    for prefix in COMPILED * 2:  # a compiled network may be within a parallel one, or the other way round
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
            notes.append(f"{prefix!r} is taken off the names")
    return Unwrapped(weights, tuple(notes))


def _wrapper(content: Mapping[Any, Any]) -> str | None:
    """The key of the state dict; tensors next to a mapping of tensors, such as class weights, are not part of it."""
    named = [name for name in WRAPPERS if isinstance(content.get(name), Mapping)]
    with_tensors = [name for name in named if _is_state(content[name]) or _wraps(content[name])]
    return next(iter(with_tensors or ([] if _is_state(content) else named)), None)


def _wraps(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(content.get(name), Mapping) for name in WRAPPERS)


def _is_state(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.ndim > 0 for value in content.values())


def _check_kinds(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that a network could not use as they are, by their kind; values are not checked."""
    for name, tensor in weights.items():
        if kind := _unusable(name, tensor):
            rule = "weights must be dense tensors of float16, bfloat16, float32 or float64"
            raise InputError(f"{path}: {rule}, got {name}, which is {kind}")


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


@contextmanager
def reported_as(failure: str) -> Iterator[None]:
    """Turn errors while a network is built from a user's description files into one line, which a pool can skip.

    Raises:
        InputError: A value has the wrong type, or no network can be built from it.
    """
    try:
        yield
    except (InputError, SkipPair):
        raise
    except BROKEN as error:
        raise InputError(f"{failure}: {type(error).__name__}: {one_line(error)}") from error


def weights_digest(*paths: Path) -> str:
    """SHA-256 over the digests of files, in the order given.

    Raises:
        InputError: A file is missing.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} not found")
    return sha256(b"".join(bytes.fromhex(remembered(file_digest, is_input=True)(path)) for path in paths)).hexdigest()


def module_class(name: str, *, within: Sequence[str], where: str, trust: bool = False) -> type[nn.Module]:
    """Import a class of torch modules by its dotted name.

    Args:
        name: `package.module.Class`.
        within: The allowed packages.
        where: The file and field with the name, for errors.
        trust: Allow a class of any package.

    Raises:
        InputError: The class is of another package, cannot be imported, or is not a class of torch modules.
    """
    rule = f"{where} must name a network class of {' or '.join(within)}, got {name}"
    if not trust and not is_within(name, within):
        raise InputError(f"{rule}; trust=true allows others")
    try:
        located = pydoc.locate(name)
    except (pydoc.ErrorDuringImport, ImportError) as error:
        raise InputError(f"{rule}, whose import fails: {one_line(error)}") from error
    if not inspect.isclass(located) or not issubclass(located, nn.Module):
        raise InputError(f"{rule}, which is not a torch module")
    if not trust and not is_within(located.__module__, within):  # reached through another module's imports
        raise InputError(f"{rule}, which is defined in {located.__module__}")
    return located


def monai_class(name: str, *, where: str, trust: bool = False) -> type[nn.Module]:
    """Import a class of MONAI's networks by its dotted name or, as in bundles, its own name."""
    nets = importlib.import_module("monai.networks.nets")
    full = name if "." in name or not hasattr(nets, name) else f"{NETWORKS[0]}.{name}"
    return module_class(full, within=NETWORKS, where=where, trust=trust)


def literal(value: object, *, where: str) -> Any:
    """Return a plain value unchanged.

    Raises:
        InputError: The value contains an expression, a reference or an object to create, which needs trust.
    """
    if isinstance(value, dict):
        if "_target_" in value:
            raise InputError(
                f"{where} must be a plain value, got an object of {value['_target_']}; trust=true creates it"
            )
        return {name: literal(inner, where=f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [literal(inner, where=where) for inner in value]
    if isinstance(value, str) and value.startswith(("$", "@", "%")):
        raise InputError(f"{where} must be a plain value, got {value}; trust=true evaluates it")
    return value
