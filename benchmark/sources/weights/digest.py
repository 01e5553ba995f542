"""The digest of a source's files."""

from hashlib import sha256
from pathlib import Path

from benchmark.errors import InputError
from benchmark.storage.digest import file_digest
from benchmark.storage.digest_memory import remembered


def weights_digest(*paths: Path) -> str:
    """SHA-256 over the digests of files, in the order given.

    Raises:
        InputError: A file is missing.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} not found")
    return sha256(b"".join(bytes.fromhex(remembered(file_digest, is_input=True)(path)) for path in paths)).hexdigest()
