"""The losses of 30 steps are equal, bit for bit, with any number of workers and with a kill and a resume between."""

import signal
import subprocess
import sys

import pytest
import torch
from torch import nn

from benchmark.data.prepared.cases import Cases
from benchmark.data.tasks.msd import MsdTask
from benchmark.sources.pretrained import Budget
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared
from benchmark.training.loop import train
from benchmark.training.resume import Keeper
from tests.benchmark.data.conftest import make_msd

BUDGET = Budget(steps=30, batch=2, patch=(8, 8, 8), lr=1e-2)
KILLED_AFTER = 17  # steps


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Dropout(0.2), nn.LeakyReLU(), nn.Conv3d(4, 3, 1))


def cases_on_disk(msd) -> Cases:
    cases = MsdTask(msd, test_share=0).cases("train")
    return Cases(cases.requests, place="folder", store=cases.store, memory_gib=0.0).prepare()


def losses(msd, folder, workers: int, **arguments) -> list[float]:
    with storing_prepared(PreparedSettings(folder / "prepared", workers=workers)):
        return train(network(), cases_on_disk(msd), budget=BUDGET, seed=3, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bits")


@pytest.fixture(scope="module")
def msd(folder):
    return make_msd(folder / "Task09_Spleen")


@pytest.fixture(scope="module")
def expected(msd, folder):
    return losses(msd, folder, 0)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_bit(msd, folder, expected, workers):
    assert losses(msd, folder, workers) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_a_kill_and_a_resume_change_no_bit(msd, folder, expected, workers):
    state = folder / f"training_{workers}.pt"
    code = f"""
import os, signal
from pathlib import Path
from benchmark.training.resume import Keeper
from tests.benchmark.training.test_bit_equality import KILLED_AFTER, losses
def report(step, loss):
    if step == KILLED_AFTER + 1:
        os.kill(os.getpid(), signal.SIGKILL)
keeper = Keeper(Path({str(state)!r}), every=0)
losses(Path({str(msd)!r}), Path({str(folder)!r}), {workers}, report=report, keeper=keeper)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    reported = []
    resumed = losses(
        msd, folder, workers, report=lambda step, loss: reported.append(step), keeper=Keeper(state, every=1e9)
    )
    assert resumed == expected
    assert reported[0] == KILLED_AFTER + 2  # nothing before was trained again
