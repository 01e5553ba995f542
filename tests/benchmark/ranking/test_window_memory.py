"""The estimated memory of a window's forward pass is that of a real one, within a factor of 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from monai.networks import nets
from torch import nn

from benchmark.ranking.window_memory import window_memory
from tests.checkpoints import SMALL

SIDE = 64  # voxels; above 100 MiB of maps
FACTOR = 2.0  # oneDNN copies maps and weights into layouts of its own
WIDER = {"DynUNet": {"filters": [24, 32, 64]}, "SwinUNETR": {"feature_size": 36}}
SETTINGS = {"spatial_dims": 3, "in_channels": 1, "out_channels": 4}
TAPS = {"DynUNet": "upsamples.1", "SwinUNETR": "decoder1"}


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """Bytes of a forward pass, measured in a process of its own, in which freed memory goes back at once."""
    settings = {name: SETTINGS | SMALL[name] | WIDER[name] for name in TAPS}
    code = f"""
import json
import torch
from monai.networks import nets
from benchmark.features.taps import Taps
from benchmark.jobs.resources import peak_memory, reset_peak_memory
torch.set_num_threads(1)
measured = dict()
for name, settings in {settings!r}.items():
    network = getattr(nets, name)(**settings).eval()
    with torch.no_grad(), Taps(network, [{TAPS!r}[name]]):
        network(torch.zeros(1, 1, {SIDE}, {SIDE}, {SIDE}))  # libraries allocate once what they keep
        reset_peak_memory("cpu")
        before = peak_memory("cpu")
        network(torch.zeros(1, 1, {SIDE}, {SIDE}, {SIDE}))
        measured[name] = (peak_memory("cpu") - before) * 2**20
print(json.dumps(measured))
"""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", TAPS)
def test_the_estimate_is_near_the_measured_peak(name, measured):
    network = getattr(nets, name)(**SETTINGS, **SMALL[name] | WIDER[name]).eval()
    memory = window_memory(network, [TAPS[name]], channels=1, window=(SIDE,) * 3)
    assert measured[name] / FACTOR < memory.activations < measured[name] * FACTOR
    assert tuple(memory.logits.shape) == (1, 4, *(SIDE,) * 3)


def test_a_network_that_reads_values_cannot_be_followed():
    class Reading(nn.Sequential):
        def forward(self, image):
            return super().forward(image) if float(image.max()) > 0 else image

    with pytest.raises(RuntimeError):
        window_memory(Reading(nn.Conv3d(1, 2, 1)), ["0"], channels=1, window=(4, 4, 4))
