"""Triton kernels: the interpreter against the torch reference, and compilation ahead of time without a GPU.

The interpreter proves the arithmetic, the masks and the strides; the compiler that every kernel builds for sm_80 and
sm_90, with the registers and shared memory that it takes. Neither proves speed, nor what a GPU's own rounding does:
that is for the tests marked gpu.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.core.energy import riesz_energy
from benchmark.core.gather import gather
from benchmark.core.joint_histogram import joint_histogram
from benchmark.core.moments import class_moments

pytest.importorskip("triton", reason="needs Triton: pip install 'triton>=3.7.1'")

HERE = Path(__file__).parent
# Float64 sums in another order
ROUNDING = 1e-12


def run(*arguments, interpret):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_INTERPRET": "1"} if interpret else {}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_kernel_does_in_the_interpreter_what_its_reference_does():
    report = run("-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / "interpreted_kernels.py", interpret=True)
    assert re.search(r"\d+ passed", report)
    assert "skipped" not in report


def test_every_kernel_compiles_ahead_of_time():
    report = run(HERE / "compile_kernels.py", interpret=False)
    print(report)
    usage = re.findall(r"(\w+) (sm_80|sm_90): (\d+) registers a thread, (\d+) bytes shared", report)
    assert len({(kernel, device) for kernel, device, _, _ in usage}) == 12
    assert all(int(registers) < 255 for _, _, registers, _ in usage)  # 255 is where a thread starts to spill


def draw(*shape, offset=0.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) + offset


def close(ours, theirs, tolerance=ROUNDING):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=float(tolerance * theirs.abs().max().clamp(min=1.0)))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_device_agrees_with_the_processor(backend):
    features, labels = draw(5000, 40, offset=10.0), torch.arange(5000) % 3
    softmax, maps = features.softmax(dim=1), draw(40, 6, 7, 8)
    points = torch.randint(0, 24, (500, 3), generator=torch.Generator().manual_seed(0))
    ours = class_moments(features.cuda(), labels.cuda(), 3, backend=backend)
    theirs = class_moments(features, labels, 3)
    for name in ("mean", "scatter", "cubes", "quartics"):
        close(getattr(ours, name).cpu(), getattr(theirs, name))
    close(
        joint_histogram(softmax.cuda(), labels.cuda(), 3, backend=backend).soft.cpu(),
        joint_histogram(softmax, labels, 3).soft,
    )
    close(
        gather(maps.cuda(), points.cuda(), (24, 24, 24), backend=backend).cpu(),
        gather(maps, points, (24, 24, 24)),
        1e-6,
    )
    energy = riesz_energy(features[:700].cuda(), backend=backend)
    assert energy == pytest.approx(riesz_energy(features[:700]), rel=1e-8)
