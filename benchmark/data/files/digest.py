"""SHA-256 of files, so that a change of the data changes every key that depends on them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from benchmark.errors import InputError


def files_digest(paths: Iterable[Path]) -> str:
    """SHA-256 over file names and contents, independent of the order of `paths`.

    Raises:
        InputError: A file does not exist.
    """
    parts = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                parts.append(f"{path.name}:{hashlib.file_digest(stream, 'sha256').hexdigest()}")
        except FileNotFoundError:
            raise InputError(f"{path} not found, but dataset.json lists it") from None
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
