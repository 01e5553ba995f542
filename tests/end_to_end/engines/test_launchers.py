"""The bench runs unchanged on every launcher, and its figures are the same to the bit."""

import os
import subprocess
import sys

import numpy as np
import pytest

from benchmark.jobs.cli import CONF
from tests.end_to_end.test_commands import figures

METRICS = ["ccfv", "logme"]
JOBS = {"prepare": 2, "pretrain": 2, "truth": 2 * 2, "score": 2}


def run_bench(place, *overrides, environment=None):
    settings = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "160", "PYTHONPATH": str(CONF.parent)}
    command = [sys.executable, "-m", "benchmark.bench", *place.overrides, *overrides]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=place.folder, env=settings | (environment or {})
    )


def check(place, done, whole):
    """Every job ran once, and came to the bits that the whole bench of the session came to."""
    assert done.returncode == 0, done.stdout + done.stderr
    rows = place.store().finished().values()
    assert {stage: sum(row.stage == stage for row in rows) for stage in JOBS} == JOBS
    found, expected = figures(place, METRICS), figures(whole, METRICS)
    assert found
    for job, (values, losses) in found.items():
        same, curve = expected[job]
        assert losses == curve, job
        for name, bits in values.items():
            assert same[name] == bits, (job, name, np.frombuffer(bits), np.frombuffer(same[name]))


@pytest.mark.joblib
@pytest.mark.slow
def test_joblib(bench, place, small):
    done = run_bench(place, *small, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    check(place, done, bench[0])


@pytest.mark.ray
@pytest.mark.slow
def test_ray(bench, place, small):
    done = run_bench(place, *small, "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2",
                     environment={"RAY_USAGE_STATS_ENABLED": "0"})  # fmt: skip
    check(place, done, bench[0])


@pytest.mark.slurm
@pytest.mark.slow
def test_slurm(bench, place, small, slurm):
    resources = [f"hydra.launcher.{name}" for name in ("partition=debug", "mem_gb=3", "timeout_min=10")]
    done = run_bench(place, *small, "hydra/launcher=slurm", *resources, environment=slurm.environment)
    check(place, done, bench[0])


@pytest.mark.slow
def test_submitit_on_this_machine(bench, place, python_m):
    """One command, not the bench, as users sweep it."""
    done = python_m("benchmark.prepare", "-m", "task=synthetic_ball", "suite=synthetic",
                    "hydra/launcher=submitit_local", *place.overrides)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.params["task"] for row in place.store().finished("prepare").values()] == ["synthetic_ball"]
