"""Read a scan and its labels in any format of SimpleITK.

Arrays are (x, y, z) in the patient's left-posterior-superior directions.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so


@dataclass(frozen=True)
class Scan:
    """A scan and its labels on one grid.

    Attributes:
        image: (X, Y, Z) float32 intensities.
        labels: (X, Y, Z) int16.
        spacing: mm between voxels, in the array's axis order.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.int16]
    spacing: float


def read_scan(image: Path, labels: Path, *, spacing: float) -> Scan:
    """Read a scan (a file, or a folder with one DICOM series) and resample it and its labels to one isotropic grid.

    Intensities are interpolated linearly. Labels take the nearest voxel in the patient's space, so a label file whose
    axes run in other directions than the image's is still aligned with it.

    Args:
        image: A volume, or a folder of DICOM files.
        labels: The label volume.
        spacing: mm of the new grid.

    Raises:
        InputError: A file cannot be read.
    """
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

    moving = sitk.DICOMOrient(_read(image), "LPS")
    old = np.array(moving.GetSpacing())
    size = np.maximum(1, np.round(np.array(moving.GetSize()) * old / spacing)).astype(int)
    grid = sitk.Image([int(n) for n in size], sitk.sitkFloat32)
    grid.SetSpacing([spacing] * 3)
    grid.SetDirection(moving.GetDirection())
    grid.SetOrigin(moving.TransformContinuousIndexToPhysicalPoint([float(0.5 * (spacing / s - 1)) for s in old]))
    floor = float(sitk.GetArrayViewFromImage(moving).min())
    resampled = sitk.Resample(sitk.Cast(moving, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, floor)
    classes = sitk.Resample(_read(labels), grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    return Scan(
        sitk.GetArrayFromImage(resampled).transpose(2, 1, 0).astype(np.float32),
        sitk.GetArrayFromImage(classes).transpose(2, 1, 0).astype(np.int16),
        spacing,
    )


def _read(path: Path) -> "sitk.Image":
    import SimpleITK as sitk  # noqa: N813 - its documentation calls it so

    try:
        if path.is_dir():
            reader = sitk.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
            image = reader.Execute()
        else:
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(f"cannot read {path} with SimpleITK: {str(error).strip().splitlines()[-1]}") from error
    if image.GetNumberOfComponentsPerPixel() > 1 or "complex" in image.GetPixelIDTypeAsString():
        raise InputError(f"cannot use {path}: each voxel must be one real number, got "
                         f"{image.GetPixelIDTypeAsString()}")  # fmt: skip
    return image
