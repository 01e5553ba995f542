"""What runs on a processor runs on a CUDA device, and gives the same scores; trainings can be bit-equal there."""

import math
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from benchmark.core.torch_settings import full_precision
from benchmark.training.prediction import predict

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


TRAIN_TWICE = """
import torch
from monai.networks.nets import DynUNet

from benchmark.core.torch_settings import training_settings
from benchmark.data.files.cases import Case
from benchmark.sources.pretrained import Budget
from benchmark.training.loop import train
from benchmark.training.precision import choose_precision
from benchmark.training.prediction import predict

labels = torch.zeros(40, 40, 40, dtype=torch.uint8)
labels[10:30, 10:30, 10:30] = 1
image = labels[None] + torch.randn(1, 40, 40, 40, generator=torch.Generator().manual_seed(0))
cases = [Case("a", image, labels, (1.0, 1.0, 1.0))]
outcomes = []
with training_settings("cuda", deterministic=True):
    for _ in range(2):
        torch.manual_seed(0)
        network = DynUNet(3, 1, 2, [3] * 3, [1, 2, 2], [2] * 2, filters=[8, 16, 32])
        network = network.to("cuda", memory_format=torch.channels_last_3d)
        budget = Budget(steps=20, patch=(32, 32, 32))
        losses = train(network, cases, budget=budget, seed=0, precision=choose_precision(None, "cuda"))
        ((_, predicted),) = predict(network, cases, window=(32, 32, 32), precision=choose_precision(None, "cuda"))
        outcomes.append((losses, predicted, network.state_dict()))
(first, mask, weights), (second, other_mask, other_weights) = outcomes
assert first == second and all(loss == loss for loss in first), (first, second)
assert torch.equal(mask, other_mask)
assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
"""


def test_deterministic_training_gives_equal_bits():
    """In a new process: cuBLAS is made deterministic before CUDA starts."""
    done = subprocess.run([sys.executable, "-c", TRAIN_TWICE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_labels_in_full_precision_agree_with_those_of_the_processor(make_case):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Conv3d(1, 3, 3, padding=1).eval()
    cases = [make_case(seed=seed, shape=shape) for seed, shape in enumerate([(20, 24, 40), (16, 18, 20)])]
    here = [labels for _, labels in predict(network, cases, window=(16, 16, 16))]
    with full_precision("cuda"):
        there = [labels for _, labels in predict(network.to("cuda"), cases, window=(16, 16, 16))]
    for first, second in zip(here, there, strict=True):
        assert second.device.type == "cpu"
        assert (first == second).float().mean() > 1.0 - AGREEMENT  # float32 rounding decides in few voxels


def test_fine_tuning_records_the_precision_that_it_used(again, python_m):
    overrides = ["experiment=synthetic", "source=synthetic_drop", "target=synthetic_ball", "seeds=[7]", "device=cuda"]
    done = python_m("benchmark.truth", *overrides, *again.overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [row for row in again.store().finished("truth").values() if row.params["seed"] == "7"]
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    assert row.params["trainer.amp"] == ("bfloat16" if bfloat16 else "float32")
    assert row.params["device.name"] == "cuda"
    assert row.params["device.deterministic"] == "False"
