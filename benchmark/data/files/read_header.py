"""Read the size of a volume from its header, without its voxels, in nnU-Net's axis order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from benchmark.data.files.read_image import (
    DECIMALS,
    FLAT_SPACING,
    ITK,
    LIMIT_GIB,
    NIBABEL_ERRORS,
    NIFTI,
    READER_ERRORS,
    check_geometry,
    check_number,
    check_size,
    ending,
    estimated_voxels,
    itk_affine,
    stored_shape,
)
from benchmark.errors import InputError, one_line

ARRAY = ".b2nd"  # nnU-Net's preprocessed arrays


@dataclass(frozen=True)
class Header:
    """What the header of an image file says.

    Attributes:
        shape: (Z, Y, X) voxels; (D, H, W) of an array that is stored as prepared.
        spacing: (3,) mm, in the same order; empty for an array that is stored as prepared.
        channels: Values per voxel; None for colours, whose number shows only when they are read.
        stored: The shape as in the file, x first, without trailing axes of length 1 and without the time axis of
            vectors; the channels first for an array that is stored as prepared.
        affine: (4, 4) voxel (x, y, z) to mm, right-anterior-superior; None if the format has none.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    channels: int | None
    stored: tuple[int, ...]
    affine: NDArray[np.float64] | None = None


def read_header(path: Path, *, limit_gib: float = LIMIT_GIB) -> Header:
    """Read the header of a file as `read` reads its voxels; a compressed array has the channels on its first axis.

    Raises:
        InputError: The file is missing, its header cannot be read, or `read` would refuse what it says.
    """
    if not path.is_file():
        raise InputError(f"{path} not found, but dataset.json lists it")
    _, sizes = estimated_voxels(path)  # x first, in mm; checks that there is a header
    try:
        if ending(path) == ARRAY:
            return _array(path)
        header = _nifti(path, sizes, limit_gib) if ending(path) in NIFTI else _other(path, sizes, limit_gib)
    except InputError:
        raise
    except (*NIBABEL_ERRORS, *READER_ERRORS, TypeError, AttributeError) as error:
        raise InputError(f"cannot read {path}: {one_line(error)}") from error
    check_geometry(path, header.spacing, header.affine)
    return header


def _array(path: Path) -> Header:
    import blosc2

    shape = blosc2.open(urlpath=str(path), mode="r", deserialize=blosc2.DeserializeMode.SAFE).shape
    return Header(tuple(shape[1:]), (), int(shape[0]), tuple(shape))


def _nifti(path: Path, sizes: Sequence[float], limit_gib: float) -> Header:
    volume = nib.load(path)
    if not isinstance(volume, SpatialImage):
        raise InputError(f"cannot read {path}: it is a {type(volume).__name__}, not a NIfTI volume")
    dtype = volume.get_data_dtype()
    colours = dtype.names or ()
    if not colours:
        check_number(path, dtype)
    check_size(path, volume.shape, limit_gib, values=max(len(colours), 1))
    shape = stored_shape(path, volume.shape)
    return _header(shape, sizes, max(len(colours), 1), np.asarray(volume.affine, dtype=np.float64))


def _other(path: Path, sizes: Sequence[float], limit_gib: float) -> Header:
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size, values = reader.GetSize(), reader.GetNumberOfComponents()
    check_size(path, (*size, values), limit_gib)
    spacing = sizes or _flat_spacing(path, size, reader.GetSpacing())
    if ending(path) not in ITK:
        return _header(tuple(size), spacing, None, None)
    return _header(stored_shape(path, size), spacing, values, itk_affine(reader) if len(size) > 2 else None)


def _header(
    shape: tuple[int, ...], spacing: Sequence[float], values: int | None, affine: NDArray[np.float64] | None
) -> Header:
    """The header of a shape (x, y), (x, y, z) or (x, y, z, c) as stored, with `values` numbers in each voxel."""
    sides = (*shape[:3], *(1,) * (3 - len(shape)))
    channels = None if values is None else values * math.prod(shape[3:])
    return Header(tuple(sides[::-1]), tuple(round(mm, DECIMALS) for mm in spacing[::-1]), channels, shape, affine)


def _flat_spacing(path: Path, shape: Sequence[int], spacing: Sequence[float]) -> tuple[float, ...]:
    """(3,) mm of a 2D image, or of a 3D TIFF without any, x first."""
    if ending(path) in ITK:
        plane = tuple(float(mm) for mm in spacing[:2])
        return (*plane, float(spacing[2]) if len(shape) > 2 else FLAT_SPACING[0] * max(plane))
    return (1.0, 1.0, 1.0) if len(shape) > 2 and shape[2] > 1 else FLAT_SPACING[::-1]
