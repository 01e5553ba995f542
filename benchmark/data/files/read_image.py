"""Read a volume from disk: NIfTI, NRRD, MHA and GIPL, and 2D images (PNG, BMP, TIFF), in nnU-Net's axis order.

Axis order changes here and in `Preparation`: arrays are read as (c, Z, Y, X), a 2D image as one slice. Colours are
channels, in the order R, G, B and, if present, A; so are the vectors of a NIfTI file with one time point, (x, y, z, 1,
c). Trailing axes of length 1 are dropped. Memory is allocated only after the shape in the header is checked
against the limit.
"""

import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError, SpatialImage
from numpy.typing import NDArray

from benchmark.errors import InputError

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".mha", ".gipl")
FLAT = (".png", ".bmp")
TIFF = (".tif", ".tiff")
ENDINGS = (*NIFTI, *ITK, *FLAT, *TIFF)
COLOURS = (("R", "G", "B"), ("R", "G", "B", "A"))  # the colour records that NIfTI defines
REAL = "buif"  # numpy's kinds of real numbers
LIMIT_GIB = 8.0  # of one file's voxels as float32; a CT of 1024 x 1024 x 2000 fits
FLAT_SPACING = (999.0, 1.0, 1.0)  # nnU-Net's spacing for images without any
TO_RAS = np.diag([-1.0, -1.0, 1.0])  # ITK's directions are left-posterior-superior, NIfTI's right-anterior-superior
FLATTEST = 1e-6  # share of a voxel's volume that its axes must span
DECIMALS = 6  # of mm: headers store float32, and formats differ in the last bits
NIBABEL_ERRORS = (ImageFileError, HeaderDataError, ImageDataError)
# AssertionError: nnU-Net's reader of 2D images, for an unknown number of colours; SyntaxError: Pillow, for a broken PNG
READER_ERRORS = (OSError, EOFError, ValueError, RuntimeError, AssertionError, SyntaxError, KeyError, zlib.error)


@dataclass(frozen=True)
class Stored:
    """The content of an image file.

    Attributes:
        values: (c, Z, Y, X), as stored.
        shape: As in the file, x first, without trailing axes of length 1 and without the time axis of vectors.
        spacing: (3,) mm, in the array's axis order.
        affine: (4, 4) voxel (x, y, z) to mm, right-anterior-superior; None if the format has none.
    """

    values: NDArray[Any]
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    affine: NDArray[np.float64] | None


def ending(path: Path) -> str:
    """The ending that decides how a file is read: `.nii.gz` for `a.b.nii.gz`."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem(path: Path) -> str:
    """The file's name without its ending."""
    return path.name[: len(path.name) - len(ending(path))] if ending(path) in ENDINGS else path.name


def read(path: Path, *, limit_gib: float = LIMIT_GIB) -> Stored:
    """Read a file, as its ending says; by its header its voxels may take up to `limit_gib` as float32.

    Raises:
        InputError: The file is missing, unreadable, of an unknown kind or too large, its spacing is not positive, or
            its values are not real numbers.
    """
    kind = ending(path)
    if kind not in ENDINGS:
        raise InputError(f"cannot read {path}: its name must end in one of {', '.join(ENDINGS)}")
    if not path.is_file():
        raise InputError(f"{path} not found, but dataset.json lists it")
    try:
        stored = _nifti(path, limit_gib) if kind in NIFTI else _other(path, kind, limit_gib)
    except InputError:
        raise
    except (*NIBABEL_ERRORS, *READER_ERRORS) as error:
        name = "NIfTI" if kind in NIFTI else kind.removeprefix(".").upper()
        raise InputError(f"cannot read {path} as {name}: {_last_line(error)}") from error
    check_number(path, stored.values.dtype)
    check_geometry(path, stored.spacing, stored.affine)
    return stored


def check_number(path: Path, dtype: np.dtype[Any]) -> None:
    """Check that voxels are real numbers.

    Raises:
        InputError: They are not.
    """
    if dtype.kind not in REAL:
        raise InputError(f"cannot use {path}: voxels must be real numbers, got {dtype}")


def check_geometry(path: Path, spacing: tuple[float, ...], affine: NDArray[np.float64] | None) -> None:
    """Check that voxels have a size and a place.

    Args:
        path: The file.
        spacing: (3,) mm, in the array's axis order.
        affine: (4, 4) voxel to mm, or None.

    Raises:
        InputError: The spacing is not positive, or the affine is not invertible.
    """
    if not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        raise InputError(f"cannot use {path}: spacing must be positive along each axis, got {spacing[::-1]} mm")
    if affine is not None and not _is_invertible(affine, spacing):
        raise InputError(f"cannot use {path}: its affine must be finite and invertible, got {affine.tolist()}")


def _is_invertible(affine: NDArray[np.float64], spacing: tuple[float, ...]) -> bool:
    is_finite = bool(np.isfinite(affine).all())
    return is_finite and abs(float(np.linalg.det(affine[:3, :3]))) > FLATTEST * math.prod(spacing)


def _nifti(path: Path, limit_gib: float) -> Stored:
    volume = nib.load(path)
    if not isinstance(volume, SpatialImage):  # CIFTI, whose rows are not voxels
        raise InputError(f"cannot read {path}: it is a {type(volume).__name__}, not a NIfTI volume")
    colours = volume.get_data_dtype().names or ()
    check_size(path, volume.shape, limit_gib, values=max(len(colours), 1))
    shape = stored_shape(path, volume.shape)
    values = _colours(path, volume, shape) if colours else _with_channels(_transposed(volume.dataobj, shape))
    affine = np.asarray(volume.affine, dtype=np.float64)
    spacing = tuple(round(float(mm), DECIMALS) for mm in voxel_sizes(affine))[::-1]
    return Stored(values, shape, spacing, affine)


def stored_shape(path: Path, stored: tuple[int, ...]) -> tuple[int, ...]:
    """A stored shape, x first, as (x, y), (x, y, z) or (x, y, z, c).

    Raises:
        InputError: It has more axes.

    Example:
        >>> stored_shape(Path("a.nii"), (9, 8, 7, 1)), stored_shape(Path("a.nii"), (9, 8, 7, 1, 3))
        ((9, 8, 7), (9, 8, 7, 3))
    """
    shape = tuple(int(n) for n in stored)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        shape = (*shape[:3], shape[4])
    if len(shape) not in {2, 3, 4}:
        raise InputError(f"cannot use {path}: it must have 2 to 4 axes, or 5 with one time point, got shape "
                         f"{tuple(stored)}")  # fmt: skip
    return shape


def _transposed(stored: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """The voxels of a file, x first, with the axes of `shape` in reverse order."""
    return np.asarray(stored).T.reshape(shape[::-1])


def _colours(path: Path, volume: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Read a volume of colours as (c, Z, Y, X); the colours along a fourth axis follow each other."""
    names = volume.get_data_dtype().names
    if names not in COLOURS:
        raise InputError(f"cannot use {path}: voxels must be numbers or colours, got records of {', '.join(names)}")
    stored = _transposed(volume.dataobj.get_unscaled(), shape)  # scaling does not apply to colours
    planes = np.stack([_with_channels(stored[name]) for name in names], axis=1)
    return np.asarray(planes.reshape(-1, *planes.shape[2:]))


def _other(path: Path, kind: str, limit_gib: float) -> Stored:
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

    header = sitk.ImageFileReader()
    header.SetFileName(str(path))
    header.ReadImageInformation()
    check_size(path, (*header.GetSize(), header.GetNumberOfComponents()), limit_gib)
    if kind in ITK:
        return _itk(path)
    if kind in FLAT or len(header.GetSize()) == 2 or header.GetSize()[2] == 1:
        from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

        values, _ = NaturalImage2DIO().read_images([str(path)])
        return Stored(np.asarray(values), tuple(header.GetSize()), FLAT_SPACING, None)
    return _stack(path)


def _itk(path: Path) -> Stored:
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

    image = sitk.ReadImage(str(path))
    values, size = sitk.GetArrayFromImage(image), image.GetSize()
    shape, has_vectors = stored_shape(path, size), image.GetNumberOfComponentsPerPixel() > 1
    if has_vectors and len(shape) > 3:
        raise InputError(f"cannot use {path}: its voxels must be numbers or it must have one volume, got {shape[3]} "
                         "volumes of vectors")  # fmt: skip
    if has_vectors:
        values = np.moveaxis(values, -1, 0)
    if len(size) == 2:
        plane = tuple(round(float(mm), DECIMALS) for mm in image.GetSpacing()[::-1])
        values = values.reshape(-1, 1, *values.shape[-2:])
        return Stored(values, size, (FLAT_SPACING[0] * max(plane), *plane), None)
    values = values.reshape(-1, *shape[2::-1])
    spacing = tuple(round(float(mm), DECIMALS) for mm in image.GetSpacing()[2::-1])
    return Stored(values, shape, spacing, itk_affine(image))


def itk_affine(image: Any) -> NDArray[np.float64]:
    """(4, 4) voxel (x, y, z) to mm, right-anterior-superior, of an image or a file reader of SimpleITK with 3 axes."""
    axes = len(image.GetSize())
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (axes, axes))[:3, :3] @ np.diag(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    affine[:3] = TO_RAS @ affine[:3]
    return affine


def _stack(path: Path) -> Stored:
    """Read a 3D TIFF; as in nnU-Net, its spacing (z, y, x) is in a JSON file next to it, or 1 mm."""
    import tifffile

    with tifffile.TiffFile(path) as stored:
        values, axes = stored.series[0].asarray(), stored.series[0].axes
    if "S" in axes and values.ndim == len(axes):  # samples per voxel: its colours
        values = np.moveaxis(values, axes.index("S"), 0)
    return Stored(_with_channels(values), values.shape[-3:][::-1], _stack_spacing(path), None)


def _stack_spacing(path: Path) -> tuple[float, ...]:
    """(3,) mm of a 3D TIFF, in the array's axis order."""
    files = sidecars(path)
    spacing = json.loads(files[0].read_text(encoding="utf-8"))["spacing"] if files else (1.0, 1.0, 1.0)
    if len(spacing) != 3:
        raise InputError(f"{files[0]}: spacing must be three numbers, got {spacing}")
    return tuple(float(mm) for mm in spacing)


def sidecars(path: Path) -> list[Path]:
    """The existing JSON files that may hold a 3D TIFF's spacing, the decisive one first; none for other formats."""
    if ending(path) not in TIFF:
        return []
    case = path.with_name(stem(path)[:-5] + ".json" if stem(path)[-5:-4] == "_" else stem(path) + ".json")
    return [file for file in dict.fromkeys([path.with_name(stem(path) + ".json"), case]) if file.is_file()]


def estimated_voxels(path: Path) -> tuple[int, tuple[float, ...]]:
    """The number of voxels in a file and their size (3,) mm, x first, by its header alone.

    The size is empty for files that are prepared on their own grid: compressed arrays and 2D images.

    Raises:
        InputError: The header cannot be read.
    """
    try:
        if ending(path) in NIFTI:
            volume = nib.load(path)
            return math.prod(volume.shape[:3]), tuple(float(mm) for mm in voxel_sizes(volume.affine))
        if ending(path) == ".b2nd":
            import blosc2

            shape = blosc2.open(urlpath=str(path), mode="r", deserialize=blosc2.DeserializeMode.SAFE).shape
            return math.prod(shape[1:]), ()
        import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        is_volume = ending(path) in ITK and len(reader.GetSize()) == 3
        sizes = tuple(float(mm) for mm in reader.GetSpacing()) if is_volume else ()
        if ending(path) in TIFF and sidecars(path):
            sizes = _stack_spacing(path)[::-1]
        return math.prod(reader.GetSize()), sizes
    except (*NIBABEL_ERRORS, *READER_ERRORS, TypeError, AttributeError) as error:
        raise InputError(f"cannot read {path}: {_last_line(error)}") from error


def has_vectors(path: Path) -> bool:
    """Whether the voxels of a volume are vectors or colours, by its header; False for 2D images and corrupt files."""
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

    if ending(path) not in {*NIFTI, *ITK}:
        return False
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return False
    return bool(reader.GetNumberOfComponents() > 1)


def _with_channels(values: NDArray[Any]) -> NDArray[Any]:
    """Reshape (Y, X), (Z, Y, X) or (c, Z, Y, X) to (c, Z, Y, X)."""
    return values.reshape((1,) * (4 - values.ndim) + values.shape)


def check_size(path: Path, shape: tuple[int, ...], limit_gib: float, *, values: int = 1) -> None:
    """Check that a shape has a voxel and takes at most `limit_gib` as float32.

    Raises:
        InputError: It does not.
    """
    gib = values * math.prod(int(n) for n in shape) * 4 / 2**30
    if gib > limit_gib or min(shape, default=0) < 1:
        raise InputError(f"cannot read {path}: it must have a voxel and take at most limit_gib {limit_gib:g} GiB as "
                         f"float32, got shape {tuple(int(n) for n in shape)}")  # fmt: skip


def _last_line(error: BaseException) -> str:
    """The reason in an error: the last line of ITK's, all lines of others."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[-1:] if isinstance(error, RuntimeError) else lines) or type(error).__name__
