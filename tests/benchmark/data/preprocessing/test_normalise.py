"""Intensities become a network's input."""

import pytest
import torch

from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.errors import InputError

ROUNDING = 1e-6  # float32 on values about 1


def test_a_window_maps_to_minus_one_and_one():
    image = torch.tensor([-500.0, -160.0, 40.0, 240.0, 3000.0]).reshape(1, 1, 1, 5)
    expected = torch.tensor([-1.0, -1.0, 0.0, 1.0, 1.0]).reshape(1, 1, 1, 5)
    torch.testing.assert_close(Normalisation((-160, 240))(image), expected, atol=ROUNDING, rtol=0.0)


def test_without_a_window_each_channel_has_mean_zero_and_deviation_one():
    image = torch.randn(2, 6, 7, 8, generator=torch.Generator().manual_seed(0)) * 300.0 + 1000.0
    scores = Normalisation()(image)
    torch.testing.assert_close(scores.mean((1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(scores.std((1, 2, 3)), torch.ones(2), atol=1e-5, rtol=0.0)


def test_a_constant_volume_is_zero():
    assert not Normalisation()(torch.full((1, 4, 4, 4), 7.0)).any()


def test_the_input_is_left_alone():
    image = torch.linspace(-500.0, 500.0, 27).reshape(1, 3, 3, 3)
    before = image.clone()
    Normalisation((-100, 100))(image)
    assert torch.equal(image, before)


@pytest.mark.parametrize("window", [(1.0, 1.0), (2.0, -2.0)])
def test_a_window_that_does_not_increase_is_refused(window):
    with pytest.raises(InputError, match=r"normalisation\.window must be increasing, got"):
        Normalisation(window)(torch.zeros(1, 2, 2, 2))
