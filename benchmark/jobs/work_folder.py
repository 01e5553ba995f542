"""Where a job keeps what it writes on its way: a folder by its key, so that a killed job leaves nothing for good."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(output_dir: str | Path, key: str) -> Iterator[Path]:
    """A folder that is empty at the start and gone at the end; the next try of a killed job empties it.

    Args:
        output_dir: The folder of everything that is written.
        key: The job's key, which the caller has claimed.
    """
    folder = Path(output_dir) / "work" / key[:32]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_partial(place: Path) -> None:
    """Remove what a killed job left beside a folder that it was making: `.NAME-...`.

    Args:
        place: The folder that is made whole or not at all; only for who holds its lock.
    """
    for path in place.parent.glob(f".{place.name}-*"):
        shutil.rmtree(path, ignore_errors=True)
