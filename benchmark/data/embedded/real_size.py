"""Tasks of real size from a seed: CT-like volumes as large as those of MSD, for performance tests and trials.

Anatomy is only suggested (a body with fat and a spine, organs as deformed ellipsoids, white noise): size, spacing,
voxel types, class sizes and compressibility resemble MSD's data, scores mean nothing. A case is computed and compressed
slice by slice, so memory does not grow with its size.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from benchmark.data.embedded.phantom import Phantom
from benchmark.data.files.description import Description
from benchmark.data.tasks.msd_layout import GeneratedTask
from benchmark.data.tasks.task import Split
from benchmark.errors import InputError

COMPRESSION = 1  # gzip's fastest level: noise hardly compresses better at others
VOXELS_AT = 352  # bytes of a NIfTI header with its empty extension


@dataclass(frozen=True)
class RealSizeTask(GeneratedTask):
    """A task in MSD layout, by default with 8 labelled cases as large as those of Task09_Spleen.

    All cases are listed as MSD's `training`, so `MsdTask` can read the folder, too. This task's own splits are parts of
    that list.

    Attributes:
        splits: Split -> its key in dataset.json.
        organs: Class names, from class 1 on.
        lesion: Name of a last class, with up to three blobs inside the first organ; empty: no such class.
        radius: Of an organ, relative to half the width of a slice; smaller if several organs would overlap.
        plane: (X, Y) voxels of a slice.
        slices: (lowest, highest) number of slices; the cases are spread evenly over the range.
        spacing: (lowest, highest) mm between voxels of a slice.
        thickness: (lowest, highest) mm between slices.
        noise: Standard deviation in HU.
        seed: Seed of the task.
    """

    splits: dict[str, str] = field(default_factory=lambda: {Split.TRAIN: "fine_tuning", Split.TEST: "held_out"})
    organs: tuple[str, ...] = ("spleen",)
    lesion: str = ""
    radius: float = 0.2
    plane: tuple[int, int] = (512, 512)
    slices: tuple[int, int] = (67, 102)
    spacing: tuple[float, float] = (0.6, 0.98)
    thickness: tuple[float, float] = (2.5, 6.0)
    counts: dict[str, int] = field(default_factory=lambda: {Split.TRAIN: 6, Split.TEST: 2})
    noise: float = 20.0
    seed: int = 0

    def generate(self, folder: Path, cache: Path, recipe: str) -> Description:
        """Generate the volumes; nothing is downloaded."""
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir()
        total = sum(self.counts.values())
        depths = np.linspace(*self.slices, total).round().astype(int)
        np.random.default_rng(self.seed).shuffle(depths)
        cases = [self._write(folder, index, int(depth)) for index, depth in enumerate(depths)]
        lists, start = {"training": cases}, 0
        for split, count in self.counts.items():
            lists[self.splits[split]] = cases[start : start + count]
            start += count
        names = ["background", *self._classes]
        return {
            "name": self.name,
            "description": "generated volumes of real size, not of patients",
            "tensorImageSize": "3D",
            "modality": {"0": "CT"},
            "labels": {str(value): name for value, name in enumerate(names)},
            "numTraining": total,
            "numTest": 0,
            "test": [],
            "recipe": recipe,
            **lists,
        }

    @property
    def _classes(self) -> tuple[str, ...]:
        return (*self.organs, self.lesion) if self.lesion else self.organs

    def _write(self, folder: Path, index: int, depth: int) -> dict[str, str]:
        """Write a case of `depth` slices, and return its entry in dataset.json."""
        rng = np.random.default_rng([self.seed, index])
        mm, thickness = rng.uniform(*self.spacing), rng.uniform(*self.thickness)
        shape = (*self.plane, depth)
        phantom = Phantom.draw(shape, len(self.organs), lesion=bool(self.lesion), radius=self.radius, rng=rng)
        paths = {kind: f"{kind}sTr/{self.name}_{index:03d}.nii.gz" for kind in ("image", "label")}
        spacing = (round(mm, 3), round(mm, 3), round(thickness, 3))
        voxels = np.zeros(len(self._classes) + 1, dtype=np.int64)
        with (
            nifti_stream(folder / paths["image"], shape, np.dtype(np.int16), spacing) as images,
            nifti_stream(folder / paths["label"], shape, np.dtype(np.uint8), spacing) as labels,
        ):
            for at in range(depth):
                intensities, classes = phantom.slice(at, noise=self.noise, rng=rng)
                images.write(intensities.tobytes())
                labels.write(classes.tobytes())
                voxels += np.bincount(classes.ravel(), minlength=len(voxels))
        if not voxels.all():
            missing = self._classes[int(np.argmin(voxels)) - 1]
            raise InputError(f"task {self.name}: `plane`, `slices` and `radius` must be large enough for every class, "
                             f"got {shape} and {self.radius:g}, which leave no voxel of {missing}")  # fmt: skip
        return {kind: f"./{path}" for kind, path in paths.items()}


@contextmanager
def nifti_stream(
    path: Path, shape: tuple[int, int, int], dtype: np.dtype[np.generic], spacing: tuple[float, float, float]
) -> Iterator[BinaryIO]:
    """Open a compressed NIfTI file, to which the block writes its voxels, x fastest and z slowest.

    The file's bytes depend on the arguments and the voxels, not on its name or the time.

    Args:
        path: The file, `.nii.gz`.
        shape: (X, Y, Z) voxels.
        dtype: Type of the voxels.
        spacing: mm along x, y and z, in left-posterior-superior order.
    """
    affine: NDArray[np.float64] = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_qform(affine, code="aligned")
    header.set_sform(affine, code="aligned")
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    header.set_data_offset(VOXELS_AT)
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=file, mtime=0) as stream,
    ):
        stream.write(header.binaryblock.ljust(VOXELS_AT, b"\0"))
        yield cast(BinaryIO, stream)
