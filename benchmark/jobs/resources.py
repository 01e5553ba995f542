"""What a job uses: peak memory, and a temporary folder."""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

MEGABYTE = 2**20


def reset_peak_memory(device: str) -> None:
    """Reset the peak, so that earlier jobs of the same process do not count."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return
    with suppress(OSError):  # only Linux can reset the peak
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory(device: str) -> float:
    """Peak memory in MB: of the CUDA allocator on a CUDA device, otherwise the resident set of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / MEGABYTE
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


@contextmanager
def work_folder(output_dir: str | Path, key: str) -> Iterator[Path]:
    """Create an empty folder for the block and delete it afterwards.

    The folder is named by the key of the job, which the caller has claimed; the next run cleans up after a killed job.
    """
    folder = Path(output_dir) / "work" / key[:32]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
