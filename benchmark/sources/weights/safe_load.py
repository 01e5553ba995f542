"""Weights read from files that nobody vouches for: tensors and plain values only, and nothing of theirs is run.

A .pth file is a pickle, and a pickle can call any function. torch's own reader with `weights_only` refuses all but
tensors and containers; the list below adds what nnU-Net's and Lightning's own checkpoints hold beside: numpy numbers
of their training curves, and argparse's plain record of settings.
"""

import argparse
import hashlib
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from benchmark.errors import InputError, one_line
from benchmark.sources.weights.match import listed

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
WRAPPERS = ("network_weights", "state_dict", "model_state_dict", "model", "network", "net", "weights")
SAVED = (b"PK", b"\x80")  # how a file that torch.save wrote begins: a zip archive, or a pickle
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # of weights that can be used as they are
COMPILED = ("module.", "_orig_mod.")  # what DistributedDataParallel and torch.compile put before every name


@dataclass(frozen=True)
class Unwrapped:
    """A state dict and what was taken off it.

    Attributes:
        weights: Name -> tensor.
        notes: One line for each wrapper.
    """

    weights: dict[str, Tensor]
    notes: tuple[str, ...]


def read_weights(path: Path) -> Any:
    """What a weights file holds.

    Args:
        path: A .safetensors file, or one that torch.save wrote.

    Raises:
        InputError: It is missing, cut short, no weights file, or holds a pickle that asks for code.
    """
    if not path.is_file():
        raise InputError(f"{path} must be a file of weights, got none there")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path} must be a safetensors file, got: {_line(error)}") from error
    try:
        with torch.serialization.safe_globals(_allowed()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make torch's reader raise anything
        raise InputError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    """Why torch cannot read a file, in one line."""
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
    return f"{plain}, or cut short: {_line(error)}"


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
    found = re.search(r"GLOBAL (\S+)|(?:function|class|global)s? `?([\w.]+\.[\w]+)`?", str(error))
    if found is None:
        return "a pickle of another kind than torch.save writes; it could run code and is refused"
    return f"a pickle that asks for {found[1] or found[2]}; it could run code and is refused"


def _line(error: Exception) -> str:
    return one_line(error)


def unwrap(content: Any, path: Path) -> Unwrapped:
    """The state dict inside what a file holds.

    Args:
        content: What `read_weights` gave.
        path: Named in errors.

    Raises:
        InputError: No state dict is in it, or one with a tensor of a kind that cannot be used as it is.
    """
    notes: list[str] = []
    opened: list[Any] = []
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
    """The key that the state dict is under; tensors beside a mapping of tensors, such as class weights, are no part."""
    named = [name for name in WRAPPERS if isinstance(content.get(name), Mapping)]
    with_tensors = [name for name in named if _is_state(content[name])
                    or any(isinstance(content[name].get(inner), Mapping) for inner in WRAPPERS)]  # fmt: skip
    return next(iter(with_tensors or ([] if _is_state(content) else named)), None)


def _is_state(content: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, Tensor) and value.ndim > 0 for value in content.values())


def _check_kinds(weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that a network could not use as they are; only their kind is looked at, no value.

    Raises:
        InputError: Naming the first.
    """
    for name, tensor in weights.items():
        if kind := _unusable(name, tensor):
            rule = "weights must be dense tensors of float16, bfloat16, float32 or float64"
            raise InputError(f"{path}: {rule}, got {name}, which is {kind}")


def _unusable(name: str, tensor: Tensor) -> str:
    """What a tensor is that is no usable weight or buffer; empty for a usable one, integer buffers included."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta:
        return "a meta tensor without values"
    if tensor.is_quantized:
        return f"quantised ({dtype})"
    if tensor.is_nested:
        return "a nested tensor"
    if tensor.layout != torch.strided:
        return f"sparse ({str(tensor.layout).removeprefix('torch.')})"
    if tensor.is_floating_point():
        return "" if tensor.dtype in FLOATS else dtype
    whole_weight = tensor.ndim > 1 and (name.endswith("weight") or tensor.dtype == torch.int8)
    return dtype if tensor.is_complex() or whole_weight else ""


def file_digest(*paths: Path) -> str:
    """SHA-256 over files, in the order given.

    Raises:
        InputError: One is missing.
    """
    total = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} must be a file, got none there")
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
