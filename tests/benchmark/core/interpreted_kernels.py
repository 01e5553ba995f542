"""Triton kernels in the interpreter against the torch reference; `test_kernels` runs this file in a process of its own.

Triton decides when it is imported whether it interprets.
"""

import pytest
import torch

from benchmark.core.energy import reference as energy_reference
from benchmark.core.energy import triton_kernel as energy_kernel
from benchmark.core.gather import gather
from benchmark.core.gather import reference as gather_reference
from benchmark.core.gather import triton_kernel as gather_kernel
from benchmark.core.joint_histogram import joint_histogram
from benchmark.core.joint_histogram import reference as joint_reference
from benchmark.core.joint_histogram import triton_kernel as joint_kernel
from benchmark.core.moments import class_moments
from benchmark.core.moments import reference as moments_reference
from benchmark.core.moments import triton_kernel as moments_kernel

# Float64 sums in another order
ROUNDING = 1e-12
# A kernel may be off by twice what torch is off by, against float64; plus one rounding of the output
TWICE, ULP = 2.0, 1.2e-7


@pytest.fixture(scope="module")
def kernels():
    return {"moments": moments_kernel, "joint": joint_kernel, "gather": gather_kernel, "energy": energy_kernel}


def draw(*shape, seed=0, scale=1.0, offset=0.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale + offset


def classes(n, k, seed=1):
    return torch.randint(0, k, (n,), generator=torch.Generator().manual_seed(seed))


def close(ours, theirs, tolerance=ROUNDING):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    if ours.numel():
        size = theirs.abs().nan_to_num().max().clamp(min=1.0)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=float(tolerance * size), equal_nan=True)


SHAPES = [(0, 3, 2), (1, 1, 1), (5, 2, 3), (33, 7, 2), (130, 33, 4), (70, 65, 3)]


@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
def test_moments(kernels, n, d, k):
    features, labels = draw(n, d, offset=3.0), classes(n, k)
    for ours, theirs in zip(
        kernels["moments"].class_moments(features, labels, k),
        moments_reference.class_moments(features, labels, k),
        strict=True,
    ):
        close(ours, theirs)


def test_moments_over_several_tiles(kernels, monkeypatch):
    monkeypatch.setattr(kernels["moments"], "TILE_ROWS", 16)
    features, labels = draw(100, 5, offset=1000.0), classes(100, 3)
    ours = kernels["moments"].class_moments(features, labels, 3)
    for mine, theirs in zip(ours, moments_reference.class_moments(features, labels, 3), strict=True):
        close(mine, theirs)


@pytest.mark.parametrize(("n", "z", "k"), SHAPES)
def test_joint(kernels, n, z, k):
    softmax, labels = draw(n, z).softmax(dim=1), classes(n, k)
    ours = kernels["joint"].joint_histogram(softmax, labels, k)
    for mine, theirs in zip(ours, joint_reference.joint_histogram(softmax, labels, k), strict=True):
        close(mine, theirs)


def test_joint_breaks_ties_and_keeps_nan_as_torch_does(kernels):
    softmax = torch.full((4, 3), 1 / 3)
    softmax[2, 1] = torch.nan
    labels = torch.tensor([0, 1, 1, 0])
    ours = kernels["joint"].joint_histogram(softmax, labels, 2)
    for mine, theirs in zip(ours, joint_reference.joint_histogram(softmax, labels, 2), strict=True):
        finite = theirs.isfinite()
        assert torch.equal(finite, mine.isfinite())
    assert ours[1][1, 0] >= 1


@pytest.mark.parametrize(
    ("d", "grid", "size", "n"),
    [
        (5, (3, 4, 5), (6, 8, 10), 40),
        (65, (2, 3, 2), (7, 5, 9), 33),
        (3, (4, 4, 4), (4, 4, 4), 10),
        (4, (5,), (13,), 7),
        (2, (1, 1, 1), (2, 2, 2), 3),
        (2, (2, 2, 2), (4, 4, 4), 0),
    ],
)
def test_gather(kernels, d, grid, size, n):
    features = draw(d, *grid)
    points = torch.stack(
        [torch.randint(0, side, (n,), generator=torch.Generator().manual_seed(i)) for i, side in enumerate(size)], dim=1
    )
    exact = gather_reference.gather(features.double(), points, size)
    eager = gather_reference.gather(features, points, size).double()
    ours = kernels["gather"].gather(features, points, size)
    assert ours.dtype == torch.float32
    allowed = TWICE * (eager - exact).abs().max() + ULP * 8 if n else 0.0
    assert n == 0 or (ours - exact).abs().max() <= allowed


@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 5), (33, 7), (65, 3)])
@pytest.mark.parametrize("s", [1, 2])
def test_energy(kernels, n, d, s):
    points = draw(n, d)
    points[-1] = points[0]
    ours = kernels["energy"].riesz_energy(points, s=s, floor=1e-3)
    assert float(ours) == pytest.approx(float(energy_reference.riesz_energy(points, s=s, floor=1e-3)), rel=1e-9)


def test_strides_are_honoured(kernels):
    maps, labels = draw(6, 50), classes(50, 2)
    for op, module in (("moments", moments_reference), ("joint", joint_reference)):
        name = "class_moments" if op == "moments" else "joint_histogram"
        for mine, theirs in zip(
            getattr(kernels[op], name)(maps.T, labels, 2), getattr(module, name)(maps.T, labels, 2), strict=True
        ):
            close(mine, theirs)
    turned, points = draw(4, 5, 3, 2).permute(3, 0, 2, 1), torch.tensor([[1, 2, 3], [7, 5, 9]])
    close(
        kernels["gather"].gather(turned, points, (8, 6, 10)), gather_reference.gather(turned, points, (8, 6, 10)), 1e-6
    )
    energy = kernels["energy"].riesz_energy(maps.T, s=1, floor=1e-3)
    assert float(energy) == pytest.approx(float(energy_reference.riesz_energy(maps.T, s=1, floor=1e-3)), rel=1e-9)


def test_offsets_beyond_int32_are_reached(kernels):
    # Two channels whose distance in memory does not fit an int32: a view that never touches what lies between.
    step = 2**31 + 8
    storage = torch.empty(step + 8, dtype=torch.float16)  # 4 GB of address space, of which two pages are written
    features = storage.as_strided((2, 1, 1, 4), (step, 4, 4, 1))
    features[0], features[1] = 1.0, torch.arange(4.0)
    points = torch.tensor([[0, 0, 0], [0, 0, 3]])
    assert kernels["gather"].gather(features, points, (1, 1, 4)).tolist() == [[1.0, 0.0], [1.0, 3.0]]


def test_dispatch_runs_the_kernel_when_asked(kernels):
    features, labels = draw(20, 3), classes(20, 2)
    close(class_moments(features, labels, 2, backend="triton").scatter, class_moments(features, labels, 2).scatter)
    softmax = features.softmax(dim=1)
    close(joint_histogram(softmax, labels, 2, backend="triton").soft, joint_histogram(softmax, labels, 2).soft)
    points = torch.tensor([[0, 1, 2]])
    close(
        gather(draw(2, 2, 2, 2), points, (4, 4, 4), backend="triton"), gather(draw(2, 2, 2, 2), points, (4, 4, 4)), 1e-6
    )
