"""Gathering against upsampling the whole map, then indexing."""

import pytest
import torch
from torch.nn.functional import interpolate

from benchmark.core.gather import gather, interpolate_box

# float32 sums of eight terms, in another order than torch's
FLOAT32 = 1e-6

SHAPES = [
    ((3, 4, 5), (6, 8, 10)),
    ((7, 5, 6), (29, 17, 11)),
    ((4, 4, 4), (4, 4, 4)),
    ((1, 3, 2), (1, 12, 8)),
    ((1, 1, 1), (5, 3, 2)),
    ((8, 9, 7), (4, 9, 5)),
]


def upsampled(features, size):
    return interpolate(features[None], size, mode="trilinear", align_corners=False)[0]


def all_points(size):
    return torch.cartesian_prod(*(torch.arange(n) for n in size))


def draw(grid, *, d=6, dtype=torch.float32):
    return torch.rand(d, *grid, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize(("grid", "size"), SHAPES)
def test_equals_upsampling_then_indexing(grid, size):
    features = draw(grid)
    expected = upsampled(features, size).flatten(1).T
    torch.testing.assert_close(gather(features, all_points(size), size), expected, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize(("grid", "size"), SHAPES)
def test_a_box_equals_upsampling_then_cutting(grid, size):
    features = draw(grid)
    start = tuple(n // 3 for n in size)
    shape = tuple(max(n // 2, 1) for n in size)
    cut = tuple(slice(a, a + n) for a, n in zip(start, shape, strict=True))
    expected = upsampled(features, size)[(slice(None), *cut)]
    torch.testing.assert_close(interpolate_box(features, start, shape, size), expected, rtol=0, atol=FLOAT32)


def test_a_constant_map_stays_constant_and_a_linear_one_linear():
    # The eight weights sum to 1, and inside the outermost centres they reproduce a coordinate: (p + 1/2) M / N - 1/2.
    size, points = (16, 16, 16), torch.randint(4, 12, (50, 3), generator=torch.Generator().manual_seed(1))
    ramp = torch.arange(4.0, dtype=torch.float64)[:, None, None].expand(4, 4, 4)
    features = torch.stack([torch.full_like(ramp, 3.0), ramp])
    values = gather(features, points, size)
    expected = torch.stack([torch.full((50,), 3.0, dtype=torch.float64), (points[:, 0] + 0.5) / 4 - 0.5], dim=1)
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)


def test_no_points_and_one_spatial_dimension():
    assert gather(draw((2, 2, 2)), torch.zeros(0, 3, dtype=torch.int64), (4, 4, 4)).shape == (0, 6)
    line = draw((5,))
    expected = interpolate(line[None], 13, mode="linear", align_corners=False)[0].T
    torch.testing.assert_close(gather(line, torch.arange(13)[:, None], (13,)), expected, rtol=0, atol=FLOAT32)


def test_half_precision_maps_are_summed_in_float32():
    features = draw((3, 3, 3)).half()
    values = gather(features, all_points((6, 6, 6)), (6, 6, 6))
    expected = upsampled(features.float(), (6, 6, 6)).flatten(1).T
    torch.testing.assert_close(values, expected, rtol=0, atol=FLOAT32)


def test_non_contiguous_maps():
    features = draw((4, 5, 3)).permute(0, 3, 1, 2)
    expected = gather(features.contiguous(), all_points((9, 8, 10)), (9, 8, 10))
    assert torch.equal(gather(features, all_points((9, 8, 10)), (9, 8, 10)), expected)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (
            torch.zeros(2, 2, dtype=torch.int64),
            r"`points` must be integers of shape \(n, 3\), got torch.int64 \(2, 2\)",
        ),
        (torch.zeros(2, 3), r"`points` must be integers"),
        (torch.tensor([[0, 0, 4]]), r"`points` must lie in a volume of size \(4, 4, 4\), got \[0, 0, 4\]"),
        (torch.tensor([[0, -1, 0]]), r"`points` must lie in a volume"),
    ],
)
def test_points_outside_are_refused(points, text):
    with pytest.raises(ValueError, match=text):
        gather(draw((2, 2, 2)), points, (4, 4, 4))


def test_a_map_without_voxels_is_refused():
    with pytest.raises(ValueError, match=r"`features` must be floating point of shape \(d, \*map\) over 3 axes"):
        gather(torch.zeros(3, 0, 2, 2), torch.zeros(0, 3, dtype=torch.int64), (4, 4, 4))
