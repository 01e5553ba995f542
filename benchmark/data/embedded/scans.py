"""Embedded tasks, cut from real scans that pinned PyPI packages contain.

A case is a seeded deformation of one scan. The tasks are a demonstration; results say nothing about other patients.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.data.embedded.deformation import Deformation, derive
from benchmark.data.embedded.packages import Package, fetch
from benchmark.data.files.description import Description
from benchmark.data.files.read_scan import Scan, read_scan
from benchmark.data.tasks.msd_layout import GeneratedTask
from benchmark.data.tasks.task import Split
from benchmark.errors import InputError

SPLIT_SEEDS = {
    Split.SOURCE_TRAIN: 1,
    Split.SOURCE_VALIDATION: 2,
    Split.TRAIN: 3,
    Split.TEST: 4,
    Split.EXTERNAL: 5,
    Split.VALIDATION: 6,
}


@dataclass(frozen=True)
class ScanFiles:
    """The files of a scan in its package.

    Attributes:
        package: The package that contains the scan.
        image: The image's path inside the package; a folder is a DICOM series.
        labels: The label volume's path inside the package.
        modality: CT or MR.
        spacing: mm of the grid that cases are cut on.
        window: (low, high); intensities outside are clipped.
        licence: Licence of the scan.
    """

    package: Package
    image: str
    labels: str
    modality: str
    spacing: float
    window: tuple[float, float]
    licence: str


@dataclass(frozen=True)
class ScansTask(GeneratedTask):
    """A task in MSD layout that is generated from a scan; its splits share no seed.

    Attributes:
        scan: The scan that cases are derived from.
        classes_from: Class name -> label values of the scan.
        size: Voxels of a case.
        deformation: Limits of the deformation and of the intensity changes.
        seed: Seed of the task.
        external: Another patient's scan of the same organ, or None.
        external_from: Class name -> label values of the external scan.
        external_size: Voxels of a case of the external scan.
    """

    scan: ScanFiles | None = None
    classes_from: dict[str, list[int]] = field(default_factory=dict)
    size: tuple[int, int, int] = (32, 32, 32)
    deformation: Deformation = field(default_factory=Deformation)
    seed: int = 0
    external: ScanFiles | None = None
    external_from: dict[str, list[int]] = field(default_factory=dict)
    external_size: tuple[int, int, int] = (32, 32, 8)

    def generate(self, folder: Path, cache: Path, recipe: str) -> Description:
        """Download the scans and cut the cases; an InputError says which scan cannot be had, or lacks a class."""
        if self.scan is None:
            raise InputError(f"task {self.name}: `scan` must be set, got None")
        description: Description = {
            "name": self.name,
            "description": f"cases derived from one {self.scan.modality} scan by seeded deformation",
            "reference": f"{self.scan.package.name} {self.scan.package.version}, {self.scan.image}",
            "licence": self.scan.licence,
            "tensorImageSize": "3D",
            "modality": {"0": self.scan.modality},
            "labels": {"0": "background"} | {str(i): name for i, name in enumerate(self.classes_from, 1)},
            "package_sha256": self.scan.package.sha256,
            "recipe": recipe,
        }
        scan = _open(self.scan, self.classes_from, cache)
        for split in self.counts:
            if split != Split.EXTERNAL:
                description[self.splits[split]] = self._cut(folder, split, scan, self.scan.window, self.size)
            elif self.external is not None:
                if set(self.external_from) != set(self.classes_from):
                    raise InputError(f"task {self.name}: external_from must name the classes of classes_from "
                                     f"{list(self.classes_from)}, got {list(self.external_from)}")  # fmt: skip
                other = _open(self.external, {name: self.external_from[name] for name in self.classes_from}, cache)
                entries = self._cut(folder, split, other, self.external.window, self.external_size)
                description[self.splits[split]] = entries
        return description | {"numTraining": len(description["training"]), "numTest": len(description["test"])}

    def _cut(
        self, folder: Path, split: str, scan: Scan, window: tuple[float, float], size: tuple[int, int, int]
    ) -> list[dict[str, str]]:
        """Write the cases of a split, and return their entries in dataset.json."""
        entries = []
        for index in range(self.counts[split]):
            seed = case_seed(self.seed, split, index)
            case = derive(scan, size=size, window=window, deformation=self.deformation, seed=seed)
            entries.append(self.write_case(folder, split, index, case, spacing=scan.spacing))
        return entries


def case_seed(task: int, split: str, index: int) -> int:
    """The seed of the `index`-th case of a split; the sizes of the splits do not change it.

    Args:
        task: Seed of the task.
        split: The split's name.
        index: Number of the case, from 0.
    """
    return int(np.random.SeedSequence([task, SPLIT_SEEDS[Split(split)], index]).generate_state(1)[0])


def _open(files: ScanFiles, classes: dict[str, list[int]], cache: Path) -> Scan:
    root = fetch(files.package, cache=cache)
    scan = read_scan(root / files.image, root / files.labels, spacing=files.spacing)
    labels = np.zeros_like(scan.labels)
    for index, (name, values) in enumerate(classes.items(), 1):
        where = np.isin(scan.labels, values)
        if not where.any():
            raise InputError(f"{root / files.labels} has no voxel of {name} (label values {list(values)})")
        labels[where] = index
    return Scan(scan.image, labels, scan.spacing)
