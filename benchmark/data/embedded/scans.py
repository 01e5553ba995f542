"""The embedded suite: tasks cut from real scans that pinned PyPI packages contain.

Each case is a seeded deformation of one scan, so these tasks serve as a demonstration and for tests. Their results
say nothing about other patients.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.embedded.deformation import Deformation, derive
from benchmark.data.embedded.packages import Package, fetch
from benchmark.data.files.read_scan import Scan, read_scan, write_nifti
from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.errors import InputError
from benchmark.storage.files import partial_folder

SPLIT_SEEDS = {"source_train": 1, "source_validation": 2, "train": 3, "test": 4, "external": 5}


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
class ScansTask(DecathlonTask):
    """A task in MSD layout that is generated from a scan.

    Attributes:
        scan: The scan that cases are derived from.
        classes_from: Class name -> label values of the scan.
        size: Voxels of a case.
        counts: Split -> number of cases; splits share no seed.
        deformation: Limits of the deformation and of the intensity changes.
        seed: Seed of the task.
        external: Another patient's scan of the same organ, or None.
        external_from: Class name -> label values of the external scan.
        external_size: Voxels of a case of the external scan.
    """

    scan: ScanFiles | None = None
    classes_from: dict[str, list[int]] = field(default_factory=dict)
    size: tuple[int, int, int] = (32, 32, 32)
    counts: dict[str, int] = field(default_factory=dict)
    deformation: Deformation = field(default_factory=Deformation)
    seed: int = 0
    external: ScanFiles | None = None
    external_from: dict[str, list[int]] = field(default_factory=dict)
    external_size: tuple[int, int, int] = (32, 32, 8)

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Download the scan and cut the cases, unless they exist; a new folder replaces an old one as a whole.

        Args:
            cache: The folder of downloaded packages.
            code: Digest of the code that cuts cases; cases that other code cut are replaced.

        Returns:
            True if cases were cut, False if they existed.

        Raises:
            InputError: The scan cannot be downloaded or read, or lacks a class.
        """
        folder = Path(self.folder)
        if self.is_made(code=code):
            return False
        with partial_folder(folder) as made:
            self._cut(made, cache, self.recipe(code))
        return True

    def is_made(self, *, code: str = "") -> bool:
        """Whether the cases exist and were cut with these settings by this code."""
        return super().is_made() and self._follows(self.recipe(code))

    def _cut(self, folder: Path, cache: Path, recipe: str) -> None:
        if self.scan is None:
            raise InputError(f"task {self.name}: `scan` must be set, got None")
        description: dict[str, Any] = {
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
        for split, count in self.counts.items():
            files = self.scan
            volume, size = scan, self.size
            if split == "external":
                if self.external is None:
                    continue
                if set(self.external_from) != set(self.classes_from):
                    raise InputError(f"task {self.name}: external_from must name the classes of classes_from "
                                     f"{list(self.classes_from)}, got {list(self.external_from)}")  # fmt: skip
                files, size = self.external, self.external_size
                volume = _open(files, {name: self.external_from[name] for name in self.classes_from}, cache)
            description[self.splits[split]] = self._write(folder, split, count, volume, size, files)
        description |= {"numTraining": len(description["training"]), "numTest": len(description["test"])}
        (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")

    def _write(  # noqa: PLR0917 - a private step with a single call
        self, folder: Path, split: str, count: int, scan: Scan, size: tuple[int, int, int], files: ScanFiles
    ) -> list[dict[str, str]]:
        part = "Ts" if split in {"test", "external"} else "Tr"
        entries = []
        for kind in ("images", "labels"):
            (folder / f"{kind}{part}").mkdir(exist_ok=True)
        for index in range(count):
            seed = np.random.SeedSequence([self.seed, SPLIT_SEEDS[split], index]).generate_state(1)[0]
            image, labels = derive(scan, size=size, window=files.window, deformation=self.deformation, seed=int(seed))
            name = f"{self.name}_{split}_{index:02d}.nii.gz"
            write_nifti(image, folder / f"images{part}" / name, spacing=scan.spacing)
            write_nifti(labels, folder / f"labels{part}" / name, spacing=scan.spacing)
            entries.append({"image": f"./images{part}/{name}", "label": f"./labels{part}/{name}"})
        return entries


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
