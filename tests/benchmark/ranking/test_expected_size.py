"""The expected windows of a case are those of the prepared case itself."""

import numpy as np
import pytest
import torch

from benchmark.data.files.cases import Case
from benchmark.data.preprocessing.preparation import Preparation, Volume
from benchmark.data.tasks.checking import BLOCK, CheckedCase
from benchmark.features.window_selection import choose
from benchmark.features.windows import Grid
from benchmark.ranking.expected_size import ExpectedShapes

WINDOW, OVERLAP = (24, 16, 20), 0.25


def volume(seed=0, shape=(30, 56, 64), spacing=(3.0, 1.0, 0.8)):
    """A volume as it is read, (Z, Y, X), with an object in a corner."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.int16)
    labels[3:9, 5:30, 40:60] = 1
    return Volume(random.normal(size=(1, *shape)).astype(np.float32), labels, spacing)


def prepared(preparation, stored=None):
    done = preparation(stored or volume())
    labels = torch.from_numpy(done.labels.astype(np.uint8))
    return Case("a", torch.from_numpy(np.ascontiguousarray(done.image)), labels, done.spacing)


@pytest.mark.parametrize("axes", [None, (0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
def test_shapes_follow_the_axes_and_the_spacing(axes, spacing):
    preparation = Preparation(spacing=spacing, transpose=axes)
    first, other = prepared(Preparation()), prepared(Preparation(), volume(1, (22, 40, 64), (2.5, 1.2, 0.8)))
    shapes = ExpectedShapes.of(preparation, CheckedCase.of(first), prepared(preparation).shape)
    expected = shapes.shape(CheckedCase.of(other))
    actual = prepared(preparation, volume(1, (22, 40, 64), (2.5, 1.2, 0.8))).shape
    assert expected == pytest.approx(actual, abs=1)


def test_a_case_that_is_stored_as_prepared_keeps_its_axes():
    own = Case("a", torch.zeros(1, 20, 30, 50), torch.ones(20, 30, 50, dtype=torch.uint8), (1.5, 1.0, 1.0))
    shapes = ExpectedShapes.of(
        Preparation(spacing=(1.5, 1.0, 1.0), transpose=(0, 1, 2)), CheckedCase.of(own), own.shape
    )
    assert shapes.shape(CheckedCase.of(own)) == own.shape


def test_a_crop_of_the_first_case_is_expected_of_the_others():
    preparation = Preparation(transpose=(0, 1, 2))
    checked = CheckedCase.of(prepared(Preparation()))
    assert ExpectedShapes.of(preparation, checked, (30, 28, 32)).shape(checked) == (30, 28, 32)


@pytest.mark.parametrize("policy", ["all", "foreground"])
def test_windows_are_counted_as_they_are_chosen(policy):
    case = prepared(Preparation())
    shapes = ExpectedShapes.of(Preparation(), CheckedCase.of(case), case.shape)
    expected = shapes.case(CheckedCase.of(case), window=WINDOW, overlap=OVERLAP, policy=policy)
    places = Grid(case.shape, WINDOW, OVERLAP).places
    chosen = choose(places, case.labels, policy)
    # foreground is known by blocks, so a window whose box touches a block with foreground may be counted, too
    near = torch.nn.functional.max_pool3d(case.labels[None].float(), 2 * BLOCK - 1, 1, BLOCK - 1)[0].byte()
    at_most = choose(places, near, policy)
    assert len(chosen) <= expected.windows <= len(at_most) <= len(places)
    assert sum(np.prod(place.shape) for place in chosen) <= expected.owned <= case.labels.numel()
    assert expected.voxels == case.labels.numel()
    if policy == "all":
        assert (expected.windows, expected.owned) == (len(places), case.labels.numel())


def test_a_case_without_foreground_is_forwarded_whole():
    case = Case("a", torch.zeros(1, 32, 32, 32), torch.zeros(32, 32, 32, dtype=torch.uint8), (1.0, 1.0, 1.0))
    shapes = ExpectedShapes.of(Preparation(transpose=(0, 1, 2)), CheckedCase.of(case), case.shape)
    expected = shapes.case(CheckedCase.of(case), window=(16, 16, 16), overlap=0.0, policy="foreground")
    assert (expected.windows, expected.owned) == (8, 32**3)
