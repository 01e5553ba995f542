"""The bench runs unchanged on every launcher, and its figures are the same to the bit."""

from collections import Counter

import numpy as np
import pytest

from tests.end_to_end.engines.conftest import METRICS
from tests.end_to_end.test_commands import figures

JOBS = {"prepare": 2, "pretrain": 2, "truth": 2 * 2, "score": 2}


def check(place, done, whole, *, seeds=2):
    """Every job ran once, and came to the bits that the whole bench of the session came to."""
    assert done.returncode == 0, done.stdout + done.stderr
    rows = place.store().finished().values()
    assert Counter(row.stage for row in rows) == JOBS | {"truth": 2 * seeds}
    assert "ended after score (until=score)" in done.stdout
    assert differences(figures(place, METRICS), whole) == []


def differences(found, whole):
    """Where jobs came to other bits than in the whole bench of the session."""
    expected, told = figures(whole, METRICS), []
    assert found
    for job, (values, losses) in found.items():
        same, curve = expected[job]
        told += [] if losses == curve else [(job, "loss")]
        told += [(job, name, np.frombuffer(bits), np.frombuffer(same[name])) for name, bits in values.items()
                 if same[name] != bits]  # fmt: skip
    return told


@pytest.mark.joblib
@pytest.mark.slow
def test_joblib(bench, place, small, run_bench):
    done = run_bench(place, *small, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    check(place, done, bench[0])


@pytest.mark.ray
@pytest.mark.slow
def test_ray(bench, place, small, run_bench):
    done = run_bench(place, *small, "suite.seeds=[0]", "hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2",
                     env={"RAY_USAGE_STATS_ENABLED": "0"})  # fmt: skip
    check(place, done, bench[0], seeds=1)


@pytest.mark.slurm
@pytest.mark.slow
def test_slurm(bench, place, small, slurm, run_bench):
    resources = [f"hydra.launcher.{name}" for name in ("partition=debug", "mem_gb=3", "timeout_min=10")]
    done = run_bench(place, *small, "suite.seeds=[0]", "hydra/launcher=slurm", *resources, env=slurm.environment)
    check(place, done, bench[0], seeds=1)


@pytest.mark.slow
def test_submitit_on_this_machine(bench, place, python_m):
    """One command, not the bench, as users sweep it."""
    done = python_m("benchmark.prepare", "-m", "task=synthetic_ball", "suite=synthetic",
                    "hydra/launcher=submitit_local", *place.overrides)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row.params["task"] for row in place.store().finished("prepare").values()] == ["synthetic_ball"]
