"""Rows on work with a budget: CPU time and memory of a function, and the overhead of a job."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from hydra.utils import get_method
from omegaconf import DictConfig

from benchmark.jobs.cli import CONF, composed
from benchmark.performance.measurement import Check, Measurement, in_fresh_process, use

SUITE = ("experiment=synthetic", "source=scratch")
TARGET = "target=synthetic_ball"


@dataclass(frozen=True)
class WithinBudget:
    """CPU time relative to a budget, with peak memory as a check.

    Attributes:
        work: function to measure, called without arguments; must be picklable.
        seconds: budget in CPU seconds.
        megabytes: maximum memory of the process, imports included.
        bound: maximum share of the budget.
    """

    work: Callable[[], object]
    seconds: float
    megabytes: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Run the work once in a fresh process, on the CPU; `device` is ignored."""
        used = in_fresh_process(use, self.work)
        return Measurement(
            used.cpu_seconds,
            self.seconds,
            "at most",
            self.bound,
            "cpu",
            checks={"megabytes": Check(used.peak, self.megabytes)},
            details={"megabytes": used.peak},
        )


@dataclass(frozen=True)
class JobCost:
    """CPU seconds of `score` for a tiny pair (config, store and artifacts), in a process that has already scored one.

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
            scored = [*SUITE, TARGET, f"metric=[{','.join(self.metrics)}]"]
            jobs = [
                composed("score", [*scored, f"metric.ccfv.seed={seed}", *places]) for seed in range(self.repeats + 1)
            ]
            _run("score", jobs[0])  # warm-up: opens the store and compiles imports
            spent = [use(partial(_run, "score", job)).cpu_seconds for job in jobs[1:]]
        return Measurement(
            median(spent), self.seconds, "at most", self.bound, device, details={"start_up_seconds": _start_up()}
        )


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


def _start_up() -> float:
    """Wall-clock seconds until a command has composed its config and shown it."""
    command = [sys.executable, "-m", "benchmark.score", *SUITE, TARGET, "--cfg", "job"]
    return use(partial(subprocess.run, command, check=True, capture_output=True, cwd=CONF.parent)).seconds
