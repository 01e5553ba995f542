"""Pictures: three slices with outlines."""

import matplotlib.image
import numpy as np
import pytest
import torch

from benchmark.data.slices import LABEL_COLOUR, PREDICTION_COLOUR, ZOOM, three_slices, write_picture

BYTE = 1 / 255  # a colour of eight bits


@pytest.fixture
def volume():
    """A bright box of class 1 with a smaller one of class 2 inside."""
    labels = torch.zeros(10, 12, 14, dtype=torch.uint8)
    labels[2:8, 3:9, 4:10] = 1
    labels[4:6, 5:7, 6:8] = 2
    return labels.float() * 2.0 - 1.0, labels


def _pixels(picture, colour):
    return int((np.abs(picture - np.array(colour)).max(-1) < 1e-9).sum())


def test_three_panels_side_by_side(volume):
    image, labels = volume
    picture = three_slices(image, labels)
    rows, columns = 14 * ZOOM, (12 + 10 + 10) * ZOOM + 3 * ZOOM
    assert picture.shape == (rows, columns, 3)
    assert picture.min() >= 0.0
    assert picture.max() <= 1.0
    assert _pixels(picture, LABEL_COLOUR) > 0
    assert _pixels(picture, PREDICTION_COLOUR) == 0


def test_a_prediction_is_outlined_in_its_own_colour(volume):
    image, labels = volume
    picture = three_slices(image, labels, labels.roll(2, 0))
    assert _pixels(picture, LABEL_COLOUR) > 0
    assert _pixels(picture, PREDICTION_COLOUR) > 0


def test_volumes_without_labels_or_contrast(volume):
    _, labels = volume
    assert np.isfinite(three_slices(torch.zeros(10, 12, 14), labels)).all()
    picture = three_slices(torch.zeros(10, 12, 14), torch.zeros_like(labels))
    assert _pixels(picture, LABEL_COLOUR) == 0


def test_a_picture_is_written_as_png(volume, tmp_path):
    picture = three_slices(*volume)
    write_picture(picture, tmp_path / "new" / "picture.png")
    stored = matplotlib.image.imread(tmp_path / "new" / "picture.png")[..., :3]
    assert np.abs(stored - picture).max() <= BYTE
