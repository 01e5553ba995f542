"""Derived cases: equal seeds give equal cases, other seeds others, and labels stay labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmark.data.embedded.deformation import Deformation, derive
from benchmark.data.files.read_scan import Scan

SIZE = (12, 14, 10)
WINDOW = (-100.0, 300.0)
STILL = Deformation(0.0, 0.0, (5.0, 7.0), (0.0, 0.0), 0.0, 1.0, 0.0, 0)


@pytest.fixture(scope="module")
def scan() -> Scan:
    """A bright box of class 1 beside one of class 2, of which class 1 is 5000 units bright somewhere."""
    labels = np.zeros((30, 32, 34), np.int16)
    labels[8:18, 8:20, 8:20] = 1
    labels[18:24, 8:20, 8:20] = 2
    image = np.where(labels > 0, 150.0, -50.0).astype(np.float32)
    image[10, 10, 10] = 5000.0
    return Scan(image, labels, 2.0)


def _derive(scan, *, seed=0, deformation=None, size=SIZE):
    return derive(scan, size=size, window=WINDOW, deformation=deformation or Deformation(), seed=seed)


def test_shape_and_type(scan):
    image, labels = _derive(scan)
    assert image.shape == labels.shape == SIZE
    assert (image.dtype, labels.dtype) == (np.int16, np.uint8)


def test_equal_seeds_give_equal_cases_whatever_else_was_drawn(scan):
    first = _derive(scan, seed=3)
    torch.rand(5)
    np.random.default_rng().random(5)
    second = _derive(scan, seed=3)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_seeds_give_other_cases(scan):
    images = [_derive(scan, seed=seed)[0].tobytes() for seed in range(5)]
    assert len(set(images)) == 5


@pytest.mark.parametrize("seed", range(5))
def test_labels_stay_those_of_the_scan(scan, seed):
    _, labels = _derive(scan, seed=seed)
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert labels.any()  # the crop is about a foreground voxel


@pytest.mark.parametrize("seed", range(20))
def test_a_thin_case_holds_its_foreground_too(scan, seed):
    """The crop's centre is moved by less than half the crop, however large the jitter."""
    _, labels = _derive(scan, seed=seed, size=(12, 12, 4), deformation=replace(STILL, jitter=8))
    assert labels.any()


def test_without_changes_a_case_is_a_crop_of_the_clipped_scan(scan):
    image, labels = _derive(scan, deformation=STILL)
    expected = np.where(labels > 0, 150, -50)
    loud = image == WINDOW[1]  # the single voxel above the window, clipped to it
    assert loud.sum() <= 1
    np.testing.assert_array_equal(image[~loud], expected[~loud])


def test_image_and_labels_move_together(scan):
    """Deformed without changes of intensity, a voxel's intensity still says its class, but for the boxes' borders."""
    deformation = Deformation(bias=0.0, gamma=1.0, noise=0.0)
    image, labels = _derive(scan, seed=1, deformation=deformation)
    assert ((image > 50) == (labels > 0)).mean() > 0.97


def test_beyond_the_border_stands_the_nearest_voxel():
    """A scan smaller than the case: every voxel is one of the scan's, image and labels alike."""
    labels = np.ones((4, 4, 4), np.int16)
    small = Scan(np.full((4, 4, 4), 100.0, np.float32), labels, 2.0)
    image, unmoved = _derive(small, deformation=STILL)
    assert image.shape == SIZE
    assert (unmoved == 1).all()
    assert (image == 100).all()
