"""Atomic writes of tensors and plain values: to a temporary file that is flushed and then renamed."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors atomically as safetensors.

    Args:
        path: file to write.
        tensors: tensors by name, on any device and with any strides.
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(plain))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote.

    Args:
        path: file to read.

    Returns:
        Tensors on the CPU, by name.
    """
    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write plain values atomically as JSON.

    Args:
        path: file to write.
        values: values that JSON can represent.
    """
    write_bytes(path, json.dumps(values, indent=1, sort_keys=True).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Args:
        path: file to read.

    Returns:
        The values.
    """
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Args:
        path: file to write; its folder exists.
        content: content of the file.
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
    """Hard-link a file, or copy it if links are not possible.

    Args:
        source: a finished file that will not be modified in place.
        target: path that does not exist yet.
    """
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
