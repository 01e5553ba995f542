"""Weights in several files: shards, listed by `model.safetensors.index.json` or `pytorch_model.bin.index.json`.

The index maps the name of each tensor to the file with it, next to the index (Hugging Face's format).
"""

import re
from collections.abc import Mapping
from pathlib import Path

from benchmark.errors import InputError, listed
from benchmark.storage.files import read_json

INDEX = ".index.json"
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")


def is_index(path: Path) -> bool:
    """Whether a file is named as an index of weights files."""
    return path.name.endswith((f".safetensors{INDEX}", f".bin{INDEX}"))


def index_of(path: Path) -> Path | None:
    """The index, if it exists, of a weights file that is named as a shard."""
    match = SHARD.fullmatch(path.name)
    index = path.with_name(f"{match[1]}{match[4]}{INDEX}") if match else None
    return index if index and is_index(index) and index.is_file() else None


def check_whole(path: Path) -> None:
    """Refuse a file that has a part of the weights only.

    Raises:
        InputError: It is named as one of several parts.
    """
    match = SHARD.fullmatch(path.name)
    if match and int(match[3]) > 1:
        index = path.with_name(f"{match[1]}{match[4]}{INDEX}")
        way_out = f"name {index.name}" if index.is_file() else f"{index.name}, which lists them all, is missing"
        raise InputError(f"{path} is part {int(match[2])} of {int(match[3])} of the weights; {way_out}")


def tensor_files(index: Path) -> dict[str, Path]:
    """Name of each tensor -> the file with it.

    Raises:
        InputError: The index is unreadable, or a file is missing or is not next to it.
    """
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(files, Mapping) or not files:
        raise InputError(f"{index} must have a weight_map: the file of each tensor")
    strange = [
        str(name)
        for name in files.values()
        if not isinstance(name, str) or name != Path(name).name or name.endswith(INDEX)
    ]
    if strange:
        raise InputError(f"{index}: weight_map must name weights files in its folder, got {listed(strange)}")
    names = list(dict.fromkeys(files.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise InputError(f"{index} lists {len(names)} files, and {len(missing)} not in its folder: {listed(missing)}")
    return {str(name): index.parent / file for name, file in files.items()}


def files_of(path: Path) -> list[Path]:
    """The files with the content of a weights file: itself, or an index and its shards, each once.

    Raises:
        InputError: As for `tensor_files`.
    """
    return [path, *dict.fromkeys(tensor_files(path).values())] if is_index(path) else [path]
