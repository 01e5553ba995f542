"""The phantom: what its documentation promises about surfaces, lesions and waves."""

import numpy as np
import pytest

from benchmark.data.embedded.phantom import DEFORMATION, EXTENT, WAVES, Phantom, Waves


def draw(seed, organs=1, *, lesion=False, shape=(60, 50, 20), radius=0.3):
    return Phantom.draw(shape, organs, lesion=lesion, radius=radius, rng=np.random.default_rng(seed))


def covered(blob, shape):
    """(Z, Y, X) of the whole grid, without the blob's box."""
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    return np.stack([blob.covers(x, y, float(at)) for at in z])


def test_all_waves_together_leave_the_centre_inside():
    assert WAVES * DEFORMATION < 0.5
    assert 1 + WAVES * DEFORMATION < EXTENT**2


def test_waves_are_the_sum_of_their_cosines():
    waves = Waves.draw(5.0, 2.0, np.random.default_rng(0))
    x, y, z = np.linspace(-1, 1, 5, dtype=np.float32), np.linspace(-1, 1, 4, dtype=np.float32), 0.3
    for row in range(4):
        for column in range(5):
            angles = waves.vectors @ np.array([x[column], y[row], z]) + waves.phases
            assert waves(x, y, z)[row, column] == pytest.approx(2.0 * np.cos(angles).sum(), abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_a_slice_has_all_of_an_organ(seed):
    """The box and the range of slices that are looked at lose no voxel."""
    phantom = draw(seed, organs=3)
    labels = np.stack([phantom.slice(at, noise=0.0, rng=np.random.default_rng(0))[1] for at in range(20)])
    for blob in phantom.blobs:
        inside = covered(blob, phantom.shape)
        assert inside.any()
        assert np.array_equal(labels == blob.label, inside)  # so organs do not overlap, either


@pytest.mark.parametrize("seed", range(10))
def test_lesions_are_inside_the_first_organ(seed):
    phantom = draw(seed, organs=2, lesion=True, shape=(120, 100, 40))
    organ, lesions = phantom.blobs[0], [blob for blob in phantom.blobs if blob.label == 3]
    assert 1 <= len(lesions) <= 3
    inside = covered(organ, phantom.shape)
    for lesion in lesions:
        where = covered(lesion, phantom.shape)
        assert where.any()
        assert not (where & ~inside).any()
