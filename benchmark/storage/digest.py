"""SHA-256 of values and files, for keys and checksums."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import InputError
from benchmark.storage.digest_memory import remembered


def value_digest(value: object) -> str:
    """SHA-256 of a value's JSON with sorted keys; what JSON cannot represent counts by its `str`."""
    return text_digest(json.dumps(value, sort_keys=True, default=str))


def text_digest(text: str) -> str:
    """SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, which is always read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over file names and contents, independent of the order of `paths`; unchanged files are not read again.

    Raises:
        InputError: A file does not exist.
    """
    parts = []
    for path in paths:
        try:
            parts.append(f"{path.name}:{remembered(file_digest, is_input=True)(path)}")
        except FileNotFoundError:
            raise InputError(f"{path} not found, but dataset.json lists it") from None
    return text_digest("\n".join(sorted(parts)))
