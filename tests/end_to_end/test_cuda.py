"""What runs on a processor runs on a CUDA device, and gives the same scores."""

import math
import shutil

import pytest

# Of a score, on its own scale: float32 convolutions of a device add up in another order
AGREEMENT = 1e-4

pytestmark = pytest.mark.gpu


def scores_on(device, again, command_line):
    """The scores of one pair, from a store that knows the sources alone."""
    kept = again.folder / "kept.db"
    if not kept.exists():
        shutil.copy(again.folder / "mlflow.db", kept)
    shutil.copy(kept, again.folder / "mlflow.db")
    pair = ["experiment=synthetic", "source=synthetic_drop", "target=synthetic_ball", "stream.batch=3"]
    done = command_line("score", *pair, f"device={device}", "device.amp=null", *again.overrides)
    assert done.code == 0, done.err
    [*_, row] = again.store().finished("score").values()
    return {name: row.metrics[name] for name in row.params["metrics"].split(",")}


def test_scores_agree_with_those_of_the_processor(again, command_line):
    here, there = (scores_on(device, again, command_line) for device in ("cpu", "cuda"))
    assert set(here) == set(there)
    for name, value in here.items():
        if math.isnan(value):
            assert math.isnan(there[name]), name
        else:
            assert there[name] == pytest.approx(value, rel=AGREEMENT, abs=AGREEMENT), name


def test_the_bench_runs_unchanged(study, python_m):
    done = python_m("benchmark.bench", "experiment=synthetic", "device=cuda", "hydra/launcher=basic", *study.overrides)
    assert done.returncode == 0, done.stdout + done.stderr
