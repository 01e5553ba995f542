"""What a file says of its geometry is one and the same in every format."""

import numpy as np
import pytest

from benchmark.data.reading import ending, read, stem
from tests.benchmark.data.conftest import SHAPE, SPACING, volume, write


@pytest.mark.parametrize("kind", [".nii", ".nii.gz", ".nrrd", ".mha", ".gipl"])
def test_a_volume_is_read_in_nnunets_axis_order(tmp_path, kind):
    array = volume(0)[0][0]
    write(tmp_path / f"a{kind}", array)
    stored = read(tmp_path / f"a{kind}")
    np.testing.assert_array_equal(stored.values, array.T[None])
    assert stored.shape == SHAPE
    assert stored.spacing == SPACING[::-1]
    if kind != ".gipl":  # which knows no directions
        np.testing.assert_allclose(stored.affine, np.diag([*SPACING, 1.0]), atol=1e-6)


def test_the_order_is_that_of_nnunets_own_reader(tmp_path):
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    write(tmp_path / "a.nii.gz", volume(1)[0][0])
    image, properties = SimpleITKIO().read_images([str(tmp_path / "a.nii.gz")])
    stored = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(stored.values, image)
    np.testing.assert_allclose(stored.spacing, properties["spacing"], rtol=1e-6)


def test_a_slice_is_a_volume_of_one(tmp_path):
    write(tmp_path / "a.nii.gz", volume(0)[0][0][:, :, 9])
    write(tmp_path / "a.nrrd", volume(0)[0][0][:, :, :1])
    assert read(tmp_path / "a.nii.gz").values.shape == (1, 1, *SHAPE[1::-1])
    assert read(tmp_path / "a.nrrd").values.shape == (1, 1, *SHAPE[1::-1])


def test_endings_and_stems():
    from pathlib import Path

    assert [ending(Path(name)) for name in ("a.b.nii.gz", "a.NRRD", "a.gz")] == [".nii.gz", ".nrrd", ".gz"]
    assert [stem(Path(name)) for name in ("a.b.nii.gz", "a.NRRD", "a.x")] == ["a.b", "a", "a.x"]
