"""Tensors and plain values on disk: written under a temporary name, flushed, then renamed, so that a file is whole."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; an interrupted write leaves no file of that name.

    Args:
        path: the file.
        tensors: by name, any device and strides.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(plain))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote.

    Args:
        path: the file.

    Returns:
        Tensors on the CPU, by name.
    """
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as JSON.

    Args:
        path: the file.
        values: what JSON can hold.
    """
    write_bytes(path, json.dumps(values, indent=1, sort_keys=True).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Args:
        path: the file.

    Returns:
        The values.
    """
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: the file; its folder exists.
        content: all of it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file, or a copy where the file system or the device does not allow it.

    Args:
        source: a finished file that will not be changed in place.
        target: does not exist.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
