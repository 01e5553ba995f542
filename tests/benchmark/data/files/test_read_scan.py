"""Scans on one grid: whatever way a file's axes run, voxels land at their place in the patient."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from benchmark.data.files.read_scan import read_scan
from benchmark.data.tasks.msd_layout import write_nifti
from benchmark.errors import InputError

GREY = 1e-3  # intensities: SimpleITK interpolates in float32 about values of 100


def _box(shape, start, stop):
    volume = np.zeros(shape, np.uint8)
    volume[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = 1
    return volume


def _write(array, path, *, spacing=(1.0, 1.0, 1.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1), origin=(0.0, 0.0, 0.0)):
    """Write an (x, y, z) array with SimpleITK, whose directions are left, posterior, superior."""
    volume = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    volume.SetSpacing(spacing)
    volume.SetDirection(direction)
    volume.SetOrigin(origin)
    sitk.WriteImage(volume, str(path))


def test_what_write_nifti_wrote_is_read_as_it_was(tmp_path):
    labels = _box((9, 10, 11), (1, 2, 3), (4, 6, 9)) * 7
    image = labels.astype(np.float32) * 100.0 + np.arange(11, dtype=np.float32)
    write_nifti(image, tmp_path / "image.nii.gz", spacing=2.0)
    write_nifti(labels, tmp_path / "labels.nii.gz", spacing=2.0)
    scan = read_scan(tmp_path / "image.nii.gz", tmp_path / "labels.nii.gz", spacing=2.0)
    assert (scan.image.dtype, scan.labels.dtype, scan.spacing) == (np.float32, np.int16, 2.0)
    np.testing.assert_array_equal(scan.labels, labels)
    np.testing.assert_allclose(scan.image, image, atol=GREY)


@pytest.mark.parametrize("axis", range(3))
def test_labels_whose_axis_runs_against_the_image_land_right(tmp_path, axis):
    shape = (12, 13, 14)
    box = _box(shape, (2, 3, 1), (5, 9, 7))
    _write(box.astype(np.float32) * 100.0, tmp_path / "image.nrrd")
    direction = np.eye(3)
    direction[axis, axis] = -1.0
    origin = np.zeros(3)
    origin[axis] = shape[axis] - 1  # the stored first voxel lies at the far end
    _write(np.flip(box, axis), tmp_path / "labels.nrrd", direction=direction.ravel().tolist(), origin=origin.tolist())
    scan = read_scan(tmp_path / "image.nrrd", tmp_path / "labels.nrrd", spacing=1.0)
    np.testing.assert_array_equal(scan.labels, (scan.image > 50.0).astype(np.int16))
    np.testing.assert_array_equal(scan.labels, box)


def test_an_image_stored_in_other_axes_comes_out_left_posterior_superior(tmp_path):
    """Axes z, x, y, with x and y reversed: the array must come out as if it had been stored in LPS."""
    box = _box((6, 8, 10), (1, 1, 2), (3, 6, 9)).astype(np.float32)
    stored = np.flip(box, (0, 1)).transpose(2, 0, 1)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 1.0, 1.0, 1.0, 1.0  # NIfTI: right, anterior, superior
    for name in ("image", "labels"):
        nib.save(nib.Nifti1Image(stored, affine), tmp_path / f"{name}.nii.gz")
    scan = read_scan(tmp_path / "image.nii.gz", tmp_path / "labels.nii.gz", spacing=1.0)
    np.testing.assert_allclose(scan.image, box, atol=GREY)
    np.testing.assert_array_equal(scan.labels, box.astype(np.int16))


def test_the_grid_has_the_asked_spacing_and_the_image_its_place(tmp_path):
    """A ramp in mm is exact under linear interpolation: at the centre of each new voxel stands its place."""
    spacing = (1.0, 2.0, 4.0)
    places = np.arange(10)[None, None, :] * spacing[2] + np.zeros((24, 12, 1))
    _write(places.astype(np.float32), tmp_path / "image.nrrd", spacing=spacing)
    _write(np.zeros(places.shape, np.uint8), tmp_path / "labels.nrrd", spacing=spacing)
    scan = read_scan(tmp_path / "image.nrrd", tmp_path / "labels.nrrd", spacing=2.0)
    assert scan.image.shape == (12, 12, 20)  # 24, 24 and 40 mm
    # the old first voxel reaches from -2 to 2 mm: the new ones of 2 mm are centred at -1, 1, 3, ...
    centres = np.arange(20) * 2.0 - 1.0
    np.testing.assert_allclose(scan.image[6, 6, 1:-1], centres[1:-1], atol=GREY)


def test_labels_keep_their_share_of_the_volume(tmp_path):
    box = _box((20, 20, 10), (4, 4, 2), (16, 12, 8)) * 3
    _write(box.astype(np.float32), tmp_path / "image.nrrd", spacing=(1.0, 1.0, 2.0))
    _write(box, tmp_path / "labels.nrrd", spacing=(1.0, 1.0, 2.0))
    scan = read_scan(tmp_path / "image.nrrd", tmp_path / "labels.nrrd", spacing=2.0)
    assert set(np.unique(scan.labels)) == {0, 3}
    assert (scan.labels > 0).mean() == pytest.approx((box > 0).mean())


def test_voxels_outside_the_labels_are_background(tmp_path):
    _write(np.ones((8, 8, 8), np.float32), tmp_path / "image.nrrd")
    _write(np.full((4, 8, 8), 2, np.uint8), tmp_path / "labels.nrrd")
    scan = read_scan(tmp_path / "image.nrrd", tmp_path / "labels.nrrd", spacing=1.0)
    assert (scan.labels[:4] == 2).all()
    assert (scan.labels[4:] == 0).all()


@pytest.mark.parametrize("broken", ["image", "labels"])
def test_a_file_that_is_no_image_is_named(tmp_path, broken):
    _write(np.ones((4, 4, 4), np.float32), tmp_path / "good.nrrd")
    (tmp_path / "broken.nrrd").write_text("no image")
    files = {name: tmp_path / ("broken.nrrd" if name == broken else "good.nrrd") for name in ("image", "labels")}
    with pytest.raises(InputError, match=r"cannot read \S+broken\.nrrd with SimpleITK: ."):
        read_scan(files["image"], files["labels"], spacing=1.0)


def test_a_folder_without_a_series_is_named(tmp_path):
    (tmp_path / "series").mkdir()
    with pytest.raises(InputError, match=r"cannot read \S+series with SimpleITK: ."):
        read_scan(tmp_path / "series", tmp_path / "series", spacing=1.0)
