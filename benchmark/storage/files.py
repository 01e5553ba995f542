"""Atomic writes of files and folders: under a temporary name, flushed to the disk, then renamed."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save
from torch import Tensor

from benchmark.errors import InputError

_filled: ContextVar[Path | None] = ContextVar("filled", default=None)  # the folder that a block of this thread fills


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, on any device and with any strides, as safetensors."""
    write_bytes(path, save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote, on the CPU."""
    return cast("dict[str, Tensor]", load_file(path))


def write_json(path: Path, values: object) -> None:
    """Write plain values as JSON with sorted keys."""
    write_text(path, json.dumps(values, indent=1, sort_keys=True))


def read_json(path: Path, *, hint: str = "") -> Any:
    """Read a JSON file; `hint` says what to do if it is missing.

    Raises:
        InputError: The file is missing, cannot be read or is not UTF-8 JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} not found{hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path} as UTF-8 JSON: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whose folder exists."""
    with partial_file(path) as partial:
        partial.write_bytes(content)


@contextmanager
def partial_file(path: Path) -> Iterator[Path]:
    """Give the block a temporary path next to a file; the file appears, or is replaced, when the block has written it.

    Args:
        path: The file; its folder exists.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        if (folder := _filled.get()) and path.is_relative_to(folder):  # which is flushed as a whole
            partial.replace(path)
            return
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Give the block an empty temporary folder; the folder appears, or is replaced, when the block has filled it.

    Args:
        folder: The folder; its parents are created. Its former content is kept if the block fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as place:
        partial = Path(place) / folder.name
        partial.mkdir()
        token = _filled.set(partial)
        try:
            yield partial
        finally:
            _filled.reset(token)
        for path in (partial, *partial.rglob("*")):
            flush(path)
        if folder.exists():
            folder.rename(Path(place) / "replaced")
        partial.rename(folder)
        flush(folder.parent)


def clear_partial(folder: Path) -> None:
    """Delete the temporary folders that a killed job left next to a folder; the caller must hold its lock."""
    for path in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(path, ignore_errors=True)


def flush(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-link a finished file to a path that does not exist yet, or copy it if links are not possible."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
