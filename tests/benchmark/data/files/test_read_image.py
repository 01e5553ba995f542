"""What a file says of its geometry is one and the same in every format."""

import numpy as np
import pytest

from benchmark.data.files.read_image import ending, read, stem
from benchmark.errors import InputError
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


RGB, RGBA = (np.dtype([(name, "u1") for name in names]) for names in ("RGB", "RGBA"))


def coloured(dtype, shape=SHAPE):
    """A volume whose voxels are colours, and its planes (c, *shape)."""
    planes = np.random.default_rng(0).integers(0, 256, (len(dtype.names), *shape), dtype=np.uint8)
    array = np.zeros(shape, dtype)
    for name, plane in zip(dtype.names, planes, strict=True):
        array[name] = plane
    return array, planes


@pytest.mark.parametrize("dtype", [RGB, RGBA], ids=["RGB", "RGBA"])
def test_colours_are_channels(tmp_path, dtype):
    array, planes = coloured(dtype)
    write(tmp_path / "a.nii.gz", array)
    stored = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(stored.values, planes.transpose(0, 3, 2, 1))
    assert (stored.shape, stored.spacing) == (SHAPE, SPACING[::-1])


def test_colours_are_not_scaled(tmp_path):
    array, planes = coloured(RGB)
    write(tmp_path / "a.nii", array)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([2.0, 1.0], "<f4").tobytes()  # scl_slope and scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(read(tmp_path / "a.nii").values, planes.transpose(0, 3, 2, 1))


@pytest.mark.parametrize(("shape", "channels"), [((5, 4), 3), ((5, 4, 6, 1), 3), ((5, 4, 6, 2), 6)])
def test_colours_of_other_than_three_axes(tmp_path, shape, channels):
    array, planes = coloured(RGB, shape)
    write(tmp_path / "a.nii", array)
    values = read(tmp_path / "a.nii").values
    assert values.shape == (channels, *(*shape, 1)[2::-1])
    first = planes.reshape(3, *(*shape, 1, 1)[:4])[..., 0]  # of the first volume, where there are two
    np.testing.assert_array_equal(values[:3], first.transpose(0, 3, 2, 1))


def test_vectors_of_one_time_point_are_channels(tmp_path):
    planes = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    write(tmp_path / "a.nii.gz", np.moveaxis(planes, 0, -1)[:, :, :, None])
    stored = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(stored.values, planes.transpose(0, 3, 2, 1))
    assert stored.shape == (*SHAPE, 3)


@pytest.mark.parametrize("kind", [".nii.gz", ".nrrd"])
def test_trailing_axes_of_length_one_are_dropped(tmp_path, kind):
    array = volume(0)[0][0]
    if kind == ".nrrd":
        import SimpleITK as sitk

        sitk.WriteImage(sitk.GetImageFromArray(array.T[None], isVector=False), str(tmp_path / "a.nrrd"))
    else:
        write(tmp_path / "a.nii.gz", array[..., None, None])
    stored = read(tmp_path / f"a{kind}")
    np.testing.assert_array_equal(stored.values, array.T[None])
    assert stored.shape == SHAPE


@pytest.mark.parametrize("kind", [".nrrd", ".mha"])
def test_vectors_are_channels(tmp_path, kind):
    import SimpleITK as sitk

    planes = coloured(RGB)[1]
    sitk.WriteImage(sitk.GetImageFromArray(planes.transpose(3, 2, 1, 0), isVector=True), str(tmp_path / f"a{kind}"))
    np.testing.assert_array_equal(read(tmp_path / f"a{kind}").values, planes.transpose(0, 3, 2, 1))


def test_colours_of_a_tiff_are_channels(tmp_path):
    import tifffile

    planes = coloured(RGB)[1].transpose(0, 3, 2, 1)
    tifffile.imwrite(tmp_path / "a.tif", np.moveaxis(planes, 0, -1), photometric="rgb")
    stored = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(stored.values, planes)
    assert stored.shape == SHAPE


def test_colours_count_for_the_limit(tmp_path):
    write(tmp_path / "a.nii", coloured(RGB)[0])
    gib = 2 * np.prod(SHAPE) * 4 / 2**30  # two values a voxel
    with pytest.raises(InputError, match="at most limit_gib"):
        read(tmp_path / "a.nii", limit_gib=gib)


@pytest.mark.parametrize("kind", [".nii.gz", ".nrrd"])
def test_complex_numbers_are_refused(tmp_path, kind):
    write(tmp_path / f"a{kind}", volume(0)[0][0].astype(np.complex64))
    with pytest.raises(InputError, match=r"cannot use \S+: voxels must be real numbers, got complex64"):
        read(tmp_path / f"a{kind}")


def test_a_table_in_a_nifti_file_is_refused(tmp_path):
    import nibabel as nib
    from nibabel.cifti2 import Cifti2Image, ScalarAxis, SeriesAxis

    table = Cifti2Image(np.zeros((2, 3), np.float32), header=(ScalarAxis(["a", "b"]), SeriesAxis(0, 1, 3)))
    nib.save(table, tmp_path / "a.dscalar.nii")
    with pytest.raises(InputError, match=r"cannot read \S+: it is a Cifti2Image, not a NIfTI volume"):
        read(tmp_path / "a.dscalar.nii")


def test_a_png_of_two_colours_is_refused(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((5, 4, 2), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"cannot read \S+a\.png as PNG: .+"):
        read(tmp_path / "a.png")
