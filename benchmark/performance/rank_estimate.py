"""Row on `rank`: the time that it says before it starts, relative to the time that it takes."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.data.embedded.real_size import RealSizeTask
from benchmark.data.tasks.task import Split
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF
from benchmark.performance.measurement import Measurement
from benchmark.sources.networks.architecture import Architecture
from benchmark.storage.files import read_json


@dataclass(frozen=True)
class RankEstimate:
    """Seconds that `rank` expects, over those that it takes from then on, without the page that it writes.

    Attributes:
        arch: architecture of the sources.
        sources: number of sources, each with weights of its own.
        cases: number of cases.
        plane: (X, Y) voxels of a slice.
        slices: (lowest, highest) number of slices.
        settings: further settings of the command.
        lowest: lowest ratio.
        bound: highest ratio.
    """

    arch: Architecture
    sources: int
    cases: int
    plane: tuple[int, int]
    slices: tuple[int, int]
    settings: Sequence[str]
    lowest: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Rank generated checkpoints for generated cases in a fresh process."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            task = generated_task(folder, self.cases, plane=self.plane, slices=self.slices)
            (folder / "sources").mkdir()
            for seed in range(self.sources):
                weights = self.arch.build(channels=1, classes=task.classes, seed=seed).state_dict()
                torch.save(weights, folder / "sources" / f"source_{seed}.pt")
            command = [
                *(sys.executable, "-m", "benchmark.rank", f"task={task.folder}", f"source={folder / 'sources'}"),
                *(f"output_dir={folder / 'outputs'}", f"device={'cuda' if device.startswith('cuda') else 'cpu'}"),
                *(f"threads={torch.get_num_threads()}", *self.settings),
            ]
            done = subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False)
            if done.returncode:
                raise InputError(f"rank failed: {done.stderr}")
            forecast = read_json(folder / "outputs" / "rank" / "real" / "ranking.json")["forecast"]
        if forecast["untimed"]:
            raise InputError(f"rank could not time {', '.join(forecast['untimed'])}")
        return Measurement(
            forecast["seconds"],
            forecast["seconds_taken"],
            "within",
            self.bound,
            device,
            details={"memory_mb": forecast["memory_mb"], "peak_memory_mb": forecast["peak_memory_mb"]},
            lowest=self.lowest,
        )


def generated_task(folder: Path, cases: int, *, plane: tuple[int, int], slices: tuple[int, int]) -> RealSizeTask:
    """Generate labelled cases, none of them for testing, in a folder; sizes as in `RankEstimate`."""
    counts: dict[str, int] = {Split.TRAIN: cases, Split.TEST: 0}
    task = RealSizeTask(name="real", folder=folder / "task" / "real", counts=counts, plane=plane, slices=slices)
    task.prepare(folder)
    return task
