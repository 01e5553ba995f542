"""Row on the overhead of a job: config, store and artifacts of a tiny pair in a warm process."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hydra.utils import get_method
from omegaconf import DictConfig

from benchmark.jobs.cli import CONF, composed
from benchmark.performance.measurement import Measurement

SUITE = ("experiment=synthetic", "source=scratch")
TARGET = "target=synthetic_ball"


@dataclass(frozen=True)
class JobCost:
    """CPU seconds of `score` for a tiny pair, in a process that has already scored one.

    Attributes:
        metrics: names of the metrics to compute.
        seconds: budget in CPU seconds.
        repeats: number of jobs, of which the median is taken.
        bound: maximum share of the budget.
    """

    metrics: Sequence[str]
    seconds: float
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Score the pair repeatedly, each time with another sampling seed, so that every run is a new job.

        The details include the time that a process takes until it has composed its config.
        """
        with tempfile.TemporaryDirectory() as folder:
            places = _places(Path(folder), device)
            _run("prepare", composed("prepare", ["task=synthetic_ball", "suite=synthetic", *places[:-1]]))
            _run("pretrain", composed("pretrain", [*SUITE, *places]))
            jobs = [self._job(places, seed) for seed in range(self.repeats + 1)]
            _run("score", jobs[0])  # warm-up: opens the store and compiles imports
            spent = [_processor_seconds(job) for job in jobs[1:]]
        return Measurement(
            median(spent), self.seconds, "at most", self.bound, device, details={"start_up_seconds": _start_up()}
        )

    def _job(self, places: Sequence[str], seed: int) -> DictConfig:
        settings = [f"metric=[{','.join(self.metrics)}]", f"metric.ccfv.seed={seed}"]
        return composed("score", [*SUITE, TARGET, *settings, *places])


def _run(stage: str, cfg: DictConfig) -> None:
    get_method(f"benchmark.{stage}.run")(cfg)


def _places(folder: Path, device: str) -> list[str]:
    return [
        f"data_dir={folder / 'data'}",
        f"output_dir={folder / 'outputs'}",
        f"tracking.uri=sqlite:///{folder / 'mlflow.db'}",
        f"tracking.artifacts={folder / 'artifacts'}",
        f"device={'cuda' if device.startswith('cuda') else 'cpu'}",
    ]


def _processor_seconds(job: DictConfig) -> float:
    start = time.process_time()
    _run("score", job)
    return time.process_time() - start


def _start_up() -> float:
    """Wall-clock seconds until a command has composed its config and shown it."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmark.score", *SUITE, TARGET, "--cfg", "job"]
    subprocess.run(command, check=True, capture_output=True, cwd=CONF.parent)
    return time.perf_counter() - start
