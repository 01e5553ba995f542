"""`make gpu-check` as far as a CPU goes: from a copy of the tree, where the packages that may be absent are absent."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="needs Triton: pip install 'triton>=3.7.1'")

ROOT = Path(__file__).parents[2]
ABSENT = {"SimpleITK", "ot", "mlflow", "nnunetv2"}
BLOCK = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
TINY = [
    "metric=[ccfv,logme,leep]",
    "repeats=1",
    "threads=1",
    *(
        f"parts.kernels.rows.{name}.{setting}"
        for name, sizes in {
            "moments": "{n:200,d:5,k:3}",
            "joint_histogram": "{n:200,z:4,k:3}",
            "gather": "{n:20,d:3,m:4}",
            "energy": "{n:40,d:4}",
            "wasserstein": "{m:3,n:10,d:16}",
        }.items()
        for setting in (f"sizes={sizes}", "bound=1e9")  # an interpreter is slow
    ),
    "parts.scores.cases=2",
    "parts.scores.size=32",
    *(f"rows.{name}.{size}" for name in ("class_statistics", "point_features") for size in ("d=4", "size=16")),
    *(f"rows.w2_pairs.{size}" for size in ("d=16", "n=10", "m=4", "reference_pairs=2", "repeats=1", "bound=0")),
    "rows.class_statistics.bound=1e9",
    "rows.point_features.bound=0",
    "~parts.perf.rows.score_over_forward",
    # the network of training; with 4 channels oneDNN's bfloat16 gradients on a CPU vary from run to run
    "rows.score_over_forward.scoring.arch.network.filters=[8,8,8,8,8,8]",
    "~parts.training.rows.float32",
    *(
        f"parts.training.rows.bfloat16.{setting}"
        for setting in (
            "size.cases=2",
            "size.plane=[64,64]",
            "size.slices=[40,48]",
            "patch=[64,64,64]",
            "batch=1",
            "workers=1",
            "warm_up=1",
            "timed=1",
            "bound=1e9",
        )
    ),
]


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """The copy of the tree, and how the command ended in it."""
    copy, blocked = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("blocked")
    for name in ("benchmark", "baselines", "analysis", "conf", "tests", ".ci"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, copy / name)
    (blocked / "sitecustomize.py").write_text(BLOCK, encoding="utf-8")
    make = ["make", "gpu-check", f"PYTHON={sys.executable}", "DEVICE=cpu", f"ARGS={' '.join(map(repr, TINY))}"]
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    settings = {"PYTHONPATH": str(blocked), "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(make, cwd=copy, env=inherited | settings, capture_output=True, text=True, check=False)
    return copy, done


@pytest.mark.slow
def test_everything_but_the_device_runs_without_the_packages_that_may_be_absent(checked):
    copy, done = checked
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((copy / "outputs" / "gpu.json").read_text(encoding="utf-8"))
    assert found["complete"]
    assert found["versions"]["revision"] == "unknown"  # the copy's own code ran, not this repository's
    assert found["versions"].keys() >= {"python", "torch", "cuda", "triton"}
    assert found["device"]["device"] == "cpu"
    statuses = {
        name: {result["name"]: result["status"] for result in part["results"]} for name, part in found["parts"].items()
    }
    names = ("moments", "joint_histogram", "gather", "energy", "wasserstein")
    assert statuses["kernels"] == dict.fromkeys(names, "passed")
    assert statuses["scores"] == dict.fromkeys(("ccfv", "logme", "leep"), "passed")
    assert statuses["perf"] == dict.fromkeys(("class_statistics", "point_features", "w2_pairs"), "passed")
    assert statuses["training"] == {"bfloat16": "passed"}
    assert len(statuses["tests"]) >= 7
    assert set(statuses["tests"].values()) == {"skipped"}
    [row] = found["parts"]["training"]["results"]
    assert row["figures"]["details"]["steps_a_second"] > 0
    assert 0 <= row["figures"]["details"]["waiting_for_data"] < 1


@pytest.mark.slow
def test_what_is_absent_is_named(checked):
    copy, done = checked
    found = json.loads((copy / "outputs" / "gpu.json").read_text(encoding="utf-8"))
    assert set(found["absent"]) == ABSENT
    for name in ABSENT:
        assert f"skipped: {name} is absent" in done.stdout
    reasons = {result["reason"] for result in found["parts"]["tests"]["results"]}
    assert reasons == {"needs a CUDA device, and torch sees none"}


def test_a_machine_without_a_gpu_gets_one_line(command_line):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    done = command_line("gpu_check")
    assert done.code == 2
    assert done.err.startswith("error: device is cuda, but torch")
    assert done.err.count("\n") == 1
