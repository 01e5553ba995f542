"""Read untrusted files: tensors, plain values and network classes of known packages; code in a file is never run.

A .pth file is a pickle, and a pickle can call any function. torch's own reader with `weights_only` refuses all but
tensors and containers; it is given the plain values that checkpoints of nnU-Net and Lightning also have, such as the
numbers of their training curves. A file that it refuses is read once more without its objects.
"""

import importlib
import inspect
import pickle
import pydoc
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from benchmark.errors import InputError, SkipPair, listed, one_line, with_class
from benchmark.sources.networks.architecture import is_within
from benchmark.sources.weights.plain_values import VALUES
from benchmark.sources.weights.restricted_pickle import FileContent, read_restricted
from benchmark.sources.weights.shards import is_index, tensor_files
from benchmark.sources.weights.unwrap import EXPANDED, GIGABYTE, SAVE_AGAIN, Unwrapped, unwrap

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
TORCHSCRIPT = (
    "a TorchScript program, which would run code and is not read; load it where you trust it with torch.jit.load, and "
    "save its state_dict() with torch.save"
)
SAVED = (b"PK", b"\x80")  # how a file that torch.save wrote begins: a zip archive, or a pickle
NOT_SAVED = "Invalid magic number"  # in the error of torch.load for a pickle of another kind
SHOWN = 4  # names of classes in a note
NETWORKS = ("monai.networks.nets", "dynamic_network_architectures")  # packages whose network classes are imported
LAYERS = ("torch.nn", "dynamic_network_architectures")
# what values of the wrong type cause, and packages that a network needs and are not installed
BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_file(path: Path) -> FileContent:
    """Read a .safetensors file, a file that torch.save wrote, or the shards that an index lists.

    Raises:
        InputError: The file is missing, cut short or no weights file, holds a program, or its pickle asks for code.
    """
    if not path.is_file():
        raise InputError(f"weights file {path} not found")
    if is_index(path):
        return _read_shards(path)
    if path.suffix == ".safetensors":
        try:
            return FileContent(load_file(path))
        except (SafetensorError, RuntimeError, ValueError, OSError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{path} must be a safetensors file, got: {one_line(error)}") from error
    if is_torchscript(path):  # which torch.load would hand to torch.jit.load
        raise InputError(f"cannot read {path}: {TORCHSCRIPT}")
    if any(part.file_size > max(GIGABYTE, EXPANDED * part.compress_size) for part in _parts(path)):
        raise InputError(f"cannot read {path}: its content is compressed and far larger than the file")
    try:
        return _read_saved(path)
    except Exception as error:  # bytes that are no pickle make torch's reader raise anything
        raise InputError(_unreadable(path, error)) from error


def _read_saved(path: Path) -> FileContent:
    """Read a file of torch.save; if torch's own safe reader refuses its objects, these are left out."""
    try:
        with torch.serialization.safe_globals([(make, name) for name, make in VALUES.items()]), catch_warnings():
            filterwarnings("ignore", "Detected pickle protocol")  # which is read, or refused below
            return FileContent(torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError:
        with path.open("rb") as stream:
            if not stream.read(4).startswith(SAVED):
                raise
    return read_restricted(path)


def _read_shards(index: Path) -> FileContent:
    files = tensor_files(index)
    weights: dict[Any, Any] = {}
    left_out: dict[str, None] = {}
    for file in dict.fromkeys(files.values()):
        shard = read_file(file)
        if not isinstance(shard.content, Mapping):
            raise InputError(f"{file} must hold a state dict, got {type(shard.content).__name__}")
        weights |= {name: value for name, value in shard.content.items() if files.get(str(name), file) == file}
        left_out |= dict.fromkeys(shard.left_out)
    if missing := [name for name in files if name not in weights]:
        raise InputError(f"{index} lists tensors that its files do not have: {listed(missing)}")
    return FileContent(weights, tuple(left_out))


def _unreadable(path: Path, error: Exception) -> str:
    """Explain in one line why a file cannot be read."""
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
        return f"cannot read {path} without running code of its pickle: {one_line(error)}; {SAVE_AGAIN}"
    if NOT_SAVED in str(error):
        return f"{plain}, but another pickle; {SAVE_AGAIN}"
    return f"{plain}, or cut short: {one_line(error)}"


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code or its constants, as torch.jit.save writes it."""
    names = [part.filename for part in _parts(path)]
    return any("/code/" in name or name.endswith("/constants.pkl") for name in names)


def _parts(path: Path) -> list[zipfile.ZipInfo]:
    """The parts of a zip archive; none for other files."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (OSError, zipfile.BadZipFile):
        return []


def read_state(path: Path, *, ema: bool = False) -> Unwrapped:
    """Read a file's state dict; the first note is on objects left out.

    Raises:
        InputError: As for `read_file` and `unwrap`.
    """
    return state_of(read_file(path), path, ema=ema)


def state_of(read: FileContent, path: Path, *, ema: bool = False) -> Unwrapped:
    """The state dict in the content of a file; as `read_state`."""
    state = unwrap(read.content, path, ema=ema)
    return replace(state, notes=(*left_out_note(read, path), *state.notes))


def left_out_note(read: FileContent, path: Path) -> tuple[str, ...]:
    """The note on objects of a file that were left out; none if there are none."""
    if not read.left_out:
        return ()
    return (f"left out of {path.name}: objects of {listed(read.left_out, SHOWN)}; nothing of them was run",)


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
        raise InputError(f"{failure}: {with_class(error)}") from error


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
