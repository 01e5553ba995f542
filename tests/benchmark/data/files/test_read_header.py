"""A header gives the shape, the spacing and the channels that reading the whole file gives."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from benchmark.data.files.read_header import Header, read_header
from benchmark.data.files.read_image import read
from benchmark.errors import InputError

SPACING = (0.7, 0.8, 2.5)


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 7), (9, 8, 7, 1), (9, 8, 7, 3), (9, 8, 7, 1, 3)])
def test_nifti(shape, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.float32), np.diag([*SPACING, 1.0])), tmp_path / "a.nii.gz")
    same_as_read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("name", "shape"), [(f"a.{kind}", shape) for kind in ("nrrd", "mha", "tif") for shape in ((7, 8, 9), (8, 9))]
    + [("a.png", (8, 9))],
)  # fmt: skip
def test_other_formats(name, shape, tmp_path):
    image = sitk.GetImageFromArray(np.zeros(shape, np.uint8))
    image.SetSpacing(SPACING[: len(shape)])
    sitk.WriteImage(image, str(tmp_path / name))
    same_as_read(tmp_path / name)


def test_an_array_of_nnunet(tmp_path):
    import blosc2

    blosc2.asarray(np.zeros((2, 7, 8, 9), np.float32), urlpath=str(tmp_path / "a.b2nd"))
    assert read_header(tmp_path / "a.b2nd") == Header((7, 8, 9), (), 2, (2, 7, 8, 9))


def test_a_file_without_a_header(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no header")
    with pytest.raises(InputError, match=r"cannot read .*a\.nii\.gz"):
        read_header(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"b\.nii\.gz not found, but dataset\.json lists it"):
        read_header(tmp_path / "b.nii.gz")


def same_as_read(path):
    header, stored = read_header(path), read(path)
    assert header.shape == stored.values.shape[1:]
    assert header.spacing == pytest.approx(stored.spacing)
    assert header.channels in {len(stored.values), None}
    if header.channels:
        assert header.stored == stored.shape
    assert (header.affine is None) == (stored.affine is None)
    if header.affine is not None:
        np.testing.assert_allclose(header.affine, stored.affine)
