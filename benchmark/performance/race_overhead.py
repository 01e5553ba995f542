"""Row on `race`: what a job adds to training and validation, in a process that has trained the candidate before."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmark.errors import InputError
from benchmark.jobs.cli import CONF
from benchmark.performance.measurement import Measurement
from benchmark.performance.rank_estimate import generated_task
from benchmark.sources.networks.architecture import Architecture
from benchmark.storage.files import read_json


@dataclass(frozen=True)
class RaceOverhead:
    """Seconds of a job with so much training, over those of the training and the validation in it.

    A race of one candidate runs in a fresh process, on the launcher that runs jobs in the process itself. The overhead
    of a rung is the time since the rung before was finished, less training and validation: launching, opening the
    source, reading and saving its state, and the tracking store.

    Attributes:
        arch: architecture of the candidate.
        rung: seconds of training that the overhead is added to.
        cases: number of cases.
        plane: (X, Y) voxels of a slice.
        slices: (lowest, highest) number of slices.
        settings: further settings of the command.
        bound: highest ratio.
    """

    arch: Architecture
    rung: float
    cases: int
    plane: tuple[int, int]
    slices: tuple[int, int]
    settings: Sequence[str]
    bound: float

    def measure(self, device: str) -> Measurement:
        """Race a generated checkpoint on generated cases in a fresh process."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            task = generated_task(folder, self.cases, plane=self.plane, slices=self.slices)
            weights = self.arch.build(channels=1, classes=task.classes, seed=0).state_dict()
            torch.save(weights, folder / "candidate.pt")
            command = [
                *(sys.executable, "-m", "benchmark.race", f"task={task.folder}", f"source={folder / 'candidate.pt'}"),
                *("prior=none", "hydra/launcher=basic", f"output_dir={folder / 'outputs'}"),
                *(f"tracking.uri=sqlite:///{folder / 'mlflow.db'}", f"tracking.artifacts={folder / 'mlartifacts'}"),
                *(f"device={'cuda' if device.startswith('cuda') else 'cpu'}", f"threads={torch.get_num_threads()}"),
                *self.settings,
            ]
            done = subprocess.run(command, capture_output=True, text=True, cwd=CONF.parent, check=False)
            if done.returncode:
                raise InputError(f"race failed: {done.stderr}")
            place = folder / "outputs" / "race" / "real"
            overheads = rung_overheads(read_json(place / "race.json")["points"], _ends(place / "progress.jsonl"))
        overhead = median(overheads.values())  # the first rung, which imports and prepares, is not among them
        return Measurement(
            self.rung + overhead, self.rung, "at most", self.bound, device, details={"overhead_s": overhead}
        )


def rung_overheads(points: Sequence[dict[str, Any]], ends: Sequence[float]) -> dict[str, float]:
    """Rung -> the seconds from the end of the rung before to its own end, less its training and its validation.

    Args:
        points: `rung`, `step`, `seconds` (of all training up to it and of its validation) and `validation_seconds`.
        ends: When each rung was finished, in the order of the steps.

    Example:
        >>> half = {"rung": "half", "step": 4, "seconds": 10.0, "validation_seconds": 2.0}
        >>> full = {"rung": "full", "step": 8, "seconds": 19.0, "validation_seconds": 2.0}
        >>> rung_overheads([half, full], [100.0, 112.0])
        {'full': 1.0}
    """
    ordered = sorted(points, key=lambda point: point["step"])
    return {
        point["rung"]: end - before_end - (point["seconds"] - (before["seconds"] - before["validation_seconds"]))
        for before, point, before_end, end in zip(ordered, ordered[1:], ends, ends[1:], strict=False)
    }


def _ends(progress: Path) -> list[float]:
    lines = [json.loads(line) for line in progress.read_text(encoding="utf-8").splitlines()]
    return sorted(line["time"] for line in lines if "finished" in line)
