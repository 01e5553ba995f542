"""The estimated memory of a window's forward pass is that of a real one, within a factor of 2."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from monai.networks import nets
from torch import nn

from benchmark.ranking.window_memory import window_memory
from tests.checkpoints import SMALL

SIDE = 64  # voxels; above 100 MiB of maps
FACTOR = 2.0  # oneDNN copies maps and weights into layouts of its own
WIDER = {"DynUNet": {"filters": [24, 32, 64]}, "SwinUNETR": {"feature_size": 36}}


def made(name: str) -> nn.Module:
    return partial(getattr(nets, name), spatial_dims=3, in_channels=1, out_channels=4, **SMALL[name] | WIDER[name])()


@pytest.mark.parametrize(("name", "tap"), [("DynUNet", "upsamples.1"), ("SwinUNETR", "decoder1")])
def test_the_estimate_is_near_the_measured_peak(name, tap):
    """Measured in a process of its own, in which freed memory goes back to the system at once."""
    code = f"""
import torch
from benchmark.features.taps import Taps
from benchmark.jobs.resources import peak_memory, reset_peak_memory
from tests.benchmark.ranking.test_window_memory import made
torch.set_num_threads(1)
network = made({name!r}).eval()
with torch.no_grad(), Taps(network, [{tap!r}]):
    network(torch.zeros(1, 1, {SIDE}, {SIDE}, {SIDE}))  # libraries allocate once what they keep
    reset_peak_memory("cpu")
    before = peak_memory("cpu")
    network(torch.zeros(1, 1, {SIDE}, {SIDE}, {SIDE}))
print(peak_memory("cpu") - before)
"""
    settings = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=settings,
    )
    assert done.returncode == 0, done.stderr
    measured = float(done.stdout) * 2**20
    memory = window_memory(made(name).eval(), [tap], channels=1, window=(SIDE,) * 3)
    assert measured / FACTOR < memory.activations < measured * FACTOR
    assert tuple(memory.logits.shape) == (1, 4, *(SIDE,) * 3)


def test_a_network_that_reads_values_cannot_be_followed():
    class Reading(nn.Sequential):
        def forward(self, image):
            return super().forward(image) if float(image.max()) > 0 else image

    with pytest.raises(RuntimeError):
        window_memory(Reading(nn.Conv3d(1, 2, 1)), ["0"], channels=1, window=(4, 4, 4))
