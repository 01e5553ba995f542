"""Temporary folder of a job, named by its key, so that the next run cleans up after a killed job."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def work_folder(output_dir: str | Path, key: str) -> Iterator[Path]:
    """Create an empty folder for the block and delete it afterwards.

    Args:
        output_dir: The output folder.
        key: The job's key, which the caller has claimed.
    """
    folder = Path(output_dir) / "work" / key[:32]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
