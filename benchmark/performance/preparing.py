"""Rows on preparing cases and on the start of a job that uses them."""

import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.data.embedded.real_size import RealSizeTask
from benchmark.data.tasks.task import Split
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF
from benchmark.performance.loading_data import RealSizeCases
from benchmark.performance.measurement import Measurement, TimedRow
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared

PAUSE = 0.02  # seconds between two looks at a job's progress
PATIENCE = 300  # seconds that a job may take to its first step


@dataclass(frozen=True, kw_only=True)
class PrepareParallel(TimedRow):
    """Seconds to prepare cases in several processes, one thread each, against one process.

    Attributes:
        size: the cases.
        spacing: (3,) mm that they are resampled to.
        processes: number of processes.
    """

    rule = "at least"
    size: RealSizeCases
    spacing: tuple[float, float, float]
    processes: int

    def measure(self, device: str) -> Measurement:
        """Time both in alternation, on the CPU; `device` is ignored."""
        task = self.size.task()

        def prepare(processes: int) -> None:
            with tempfile.TemporaryDirectory() as folder:
                settings = PreparedSettings(Path(folder), processes=processes)
                with storing_prepared(settings):
                    preparation = replace(task.preparation, spacing=self.spacing, transpose=(0, 1, 2))
                    task.cases(Split.TRAIN, preparation).prepare()

        timed = self._time(lambda: prepare(self.processes), lambda: prepare(1), "cpu")
        return self._measurement(timed, "cpu", checks={})


@dataclass(frozen=True)
class JobStart:
    """Seconds of a `truth` job up to the end of its first training step, with many prepared cases over few.

    Attributes:
        few: number of cases.
        many: number of cases.
        plane: (X, Y) voxels of a slice.
        slices: (lowest, highest) number of slices.
        source: name of a source of the suites, which is pre-trained first.
        repeats: number of jobs of each, after one that prepares the cases; the fastest counts, since others wait.
        bound: maximum ratio.
    """

    few: int
    many: int
    plane: tuple[int, int]
    slices: tuple[int, int]
    source: str
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Start jobs in alternation, each a new process with a new seed, and stop them after their first step."""
        with tempfile.TemporaryDirectory() as folder:
            places = [self._task(Path(folder) / str(count), count) for count in (self.many, self.few)]
            seconds: list[list[float]] = [[], []]
            for seed in range(self.repeats + 1):
                for place, measured in zip(places, seconds, strict=True):
                    measured.append(self._first_step(place, seed, device))
        many, few = (min(measured[1:]) for measured in seconds)
        return Measurement(many, few, "at most", self.bound, device)

    def _task(self, folder: Path, count: int) -> Path:
        task = RealSizeTask(
            name="real_size",
            folder=folder / "task",
            counts={Split.TRAIN: count, Split.TEST: 1},
            plane=self.plane,
            slices=self.slices,
        )
        folder.mkdir()
        task.prepare(folder)
        subprocess.run(self._command("pretrain", folder), check=True, capture_output=True, cwd=CONF.parent)
        return folder

    def _command(self, stage: str, folder: Path) -> list[str]:
        """A job's command line; everything that it writes is in the folder."""
        return [
            *(sys.executable, "-m", f"benchmark.{stage}", f"source={self.source}"),
            *(f"data_dir={folder / 'data'}", f"output_dir={folder / 'outputs'}"),
            *(f"tracking.uri=sqlite:///{folder / 'mlflow.db'}", f"tracking.artifacts={folder / 'artifacts'}"),
        ]

    def _first_step(self, folder: Path, seed: int, device: str) -> float:
        progress = folder / f"progress_{seed}"
        command = [
            *(*self._command("truth", folder), "target=msd", f"target.folder={folder / 'task'}"),
            *(f"seeds=[{seed}]", f"progress={progress}", f"device={'cuda' if device.startswith('cuda') else 'cpu'}"),
        ]
        start = time.perf_counter()
        with (folder / "log").open("w", encoding="utf-8") as log:
            job = subprocess.Popen(command, stdout=log, stderr=log, cwd=CONF.parent)
            while not _has_stepped(progress):
                if job.poll() is not None or time.perf_counter() - start > PATIENCE:
                    job.kill()
                    raise InputError(f"the job has not trained a step: {(folder / 'log').read_text(encoding='utf-8')}")
                time.sleep(PAUSE)
            seconds = time.perf_counter() - start
            job.kill()
            job.wait()
        return seconds


def _has_stepped(progress: Path) -> bool:
    with suppress(OSError, ValueError):
        return any(json.loads(line).get("done", 0) > 0 for line in progress.read_text(encoding="utf-8").splitlines())
    return False
