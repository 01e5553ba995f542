"""Windows: what they own fills the volume once, and goes to the nearest centre."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch.nn.functional import interpolate

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Case
from benchmark.features.windows import BLOCK_VALUES, Grid, Place, Window, read_window

SIZES = st.integers(1, 23)


def owners(grid):
    """(D, H, W) how often each voxel is owned, and by which window last."""
    count, owner = torch.zeros(grid.shape, dtype=torch.int64), torch.zeros(grid.shape, dtype=torch.int64)
    for at, place in enumerate(grid.places):
        box = tuple(slice(a, a + n) for a, n in zip(place.start, place.shape, strict=True))
        count[box] += 1
        owner[box] = at
    return count, owner


@given(st.lists(st.tuples(SIZES, st.integers(1, 9)), min_size=2, max_size=3), st.sampled_from([0.0, 0.25, 0.5, 0.9]))
@settings(max_examples=60)
def test_every_voxel_is_owned_once_by_the_nearest_window(sizes, overlap):
    shape, patch = zip(*sizes, strict=True)
    grid = Grid(shape, patch, overlap)
    count, owner = owners(grid)
    assert (count == 1).all()
    voxels = torch.cartesian_prod(*(torch.arange(n) for n in shape)).double()
    before = torch.tensor([low for low, _ in grid.padding])
    centres = torch.stack([torch.tensor(place.first) - before + (torch.tensor(patch) - 1) / 2 for place in grid.places])
    distances = (voxels[:, None] - centres).square().sum(dim=2)
    own = distances.gather(1, owner.flatten()[:, None]).squeeze(1)
    assert (own <= distances.min(dim=1).values + 1e-9).all()


@given(st.tuples(SIZES, SIZES), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.sampled_from([0.0, 0.25, 0.5]))
@settings(max_examples=40)
def test_windows_lie_inside_the_padded_volume_and_hold_what_they_own(shape, patch, overlap):
    grid = Grid(shape, patch, overlap)
    index = torch.arange(shape[0] * shape[1]).reshape(1, *shape)
    case = Case("case", index, index[0], (1.0, 1.0))
    for place in grid.places:
        view = read_window(case, place, grid)
        assert view.shape == (1, *patch)
        mine = tuple(slice(a, a + n) for a, n in zip(place.offset, place.shape, strict=True))
        box = tuple(slice(a, a + n) for a, n in zip(place.start, place.shape, strict=True))
        assert torch.equal(view[0][mine], index[0][box])


def test_neighbours_overlap_at_least_as_asked():
    firsts = [place.first[0] for place in Grid((50,), (16,), 0.25).places]
    assert firsts[-1] == 50 - 16
    assert max(b - a for a, b in pairwise(firsts)) <= 12


def test_a_small_volume_is_one_window_in_the_middle():
    grid = Grid((3, 8), (6, 8))
    assert grid.padding == ((1, 2), (0, 0))
    assert grid.places == [Place(first=(0, 0), start=(0, 0), shape=(3, 8), offset=(1, 0))]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((4, 4), (2,)), r"`patch` must be positive along each axis of \(4, 4\), got \(2,\)"),
        (((4,), (0,)), "`patch` must be positive"),
        (((4,), (2,), 1.0), r"`overlap` must be in \[0, 1\), got 1.0"),
    ],
)
def test_arguments_are_checked(arguments, text):
    with pytest.raises(ValueError, match=text):
        Grid(*arguments)


@pytest.fixture
def window():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (9, 10, 11), generator=generator)
    maps = [torch.randn(5, 2, 4, 4, generator=generator), torch.randn(3, 4, 8, 8, generator=generator)]
    place = Place(first=(2, 1, 0), start=(3, 1, 2), shape=(2, 5, 4), offset=(1, 0, 2))
    return Window("a", place, labels, output=torch.randn(2, 4, 8, 8, generator=generator), maps=maps)


@pytest.mark.parametrize("layer", [-1, -2])
def test_dense_features_are_those_of_the_upsampled_map(window, layer):
    full = interpolate(window._maps[layer][None], (4, 8, 8), mode="trilinear", align_corners=False)[0]
    expected = full[:, 1:3, 0:5, 2:6].flatten(1).T
    torch.testing.assert_close(window.dense(layer), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layer", [-1, -2])
def test_features_at_points_are_the_dense_ones(window, layer):
    points = torch.cartesian_prod(torch.arange(3, 5), torch.arange(1, 6), torch.arange(2, 6))
    torch.testing.assert_close(window.at(layer, points), window.dense(layer), rtol=0, atol=1e-6)


def test_labels_and_predictions_are_cut_to_the_owned_box(window):
    owned = window._output[:, 1:3, 0:5, 2:6]
    ((softmax, labels),) = window.predictions()
    assert window.labels.shape == owned.shape[1:] == (2, 5, 4)
    assert torch.equal(softmax, owned.softmax(dim=0).flatten(1).T)
    assert torch.equal(labels, window.labels.flatten())
    points = torch.cartesian_prod(torch.arange(3, 5), torch.arange(1, 6), torch.arange(2, 6))
    assert torch.equal(window.logits_at(points), owned.flatten(1).T)


@pytest.mark.parametrize("values", [1, 2 * 4, 3 * 2 * 4, 2 * 20, 10**6])
def test_blocks_of_predictions_are_the_whole_in_raster_order(window, monkeypatch, values):
    monkeypatch.setitem(BLOCK_VALUES, "cpu", values)
    window.labels[0, 2, 1] = IGNORED
    softmax, labels = (torch.cat(parts) for parts in zip(*window.predictions(), strict=True))
    known = window.labels.flatten() != IGNORED
    assert torch.equal(labels, window.labels.flatten()[known])
    expected = window._output[:, 1:3, 0:5, 2:6].softmax(dim=0).flatten(1).T[known]
    torch.testing.assert_close(softmax, expected, rtol=1e-6, atol=0)  # exp is rounded otherwise in vectors
    assert max(len(block) for block, _ in window.predictions()) * 2 <= max(values, 4 * 2)
