"""Folders that nnU-Net v2 has preprocessed: nnUNet_preprocessed/Dataset501_X with plans and compressed arrays.

The arrays are read as nnU-Net reads them. Its pickles of properties are not opened, since a pickle can run code; the
spacing, the only property needed, is in the plans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.files.case import Case
from benchmark.data.files.cases import CaseFiles, Cases, of_case
from benchmark.data.preprocessing.plans import preparation_from_plans, read_plans
from benchmark.data.preprocessing.preparation import OUTSIDE, Preparation
from benchmark.data.tasks.file_task import inside
from benchmark.data.tasks.labelling import Labelling, nnunet_labelling
from benchmark.data.tasks.nnunet import read_nnunet_description
from benchmark.data.tasks.own import OwnTask
from benchmark.errors import InputError, SkipPair
from benchmark.storage.digest import files_digest

UNKNOWN_MM = 1.0  # of the first axis under a 2D plan, whose spacing is only in the pickles


@dataclass(frozen=True)
class PreprocessedTask(OwnTask):
    """A folder such as nnUNet_preprocessed/Dataset501_X, whose voxels are prepared already.

    Attributes:
        plans: Name of the plans file, without .json.
        configuration: Configuration of the plans.
    """

    plans: str = "nnUNetPlans"
    configuration: str = "3d_fullres"

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of dataset.json."""
        return read_nnunet_description(Path(self.folder))

    @cached_property
    def labelling(self) -> Labelling:
        """Stored values, regions and the ignore label as exclusive classes."""
        return nnunet_labelling(self.description)

    @property
    def stated_channels(self) -> int | None:
        """Number of channels that dataset.json names."""
        return len(self.description["channel_names"])

    @cached_property
    def preparation(self) -> Preparation:
        """The preparation that the plans applied to the volumes."""
        return preparation_from_plans(self._plans, self.configuration)

    @cached_property
    def _plans(self) -> dict[str, Any]:
        return read_plans(Path(self.folder) / f"{self.plans}.json")

    def digest(self) -> str:
        """SHA-256 over dataset.json, the plans, every array, and the split of each case."""
        return files_digest([Path(self.folder) / f"{self.plans}.json"]) + super().digest()

    def labelled_cases(self) -> list[CaseFiles]:
        """Every case of the configuration's folder."""
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

        self.preparation  # noqa: B018 - reading it checks the configuration
        identifier = self._plans["configurations"][self.configuration].get("data_identifier")
        folder = inside(self.folder, str(identifier or f"{self.plans}_{self.configuration}"))
        if not folder.is_dir():
            raise InputError(f"folder {folder} of preprocessed cases not found")
        names = sorted(nnUNetDatasetBlosc2.get_identifiers(str(folder)))
        return [CaseFiles(name, (folder / f"{name}.b2nd",), folder / f"{name}_seg.b2nd") for name in names]

    def cases(self, split: str, preparation: Preparation | None = None) -> Sequence[Case]:
        """The cases of a split, each read on access.

        Raises:
            SkipPair: `preparation` differs from that of the plans.
            InputError: The split has no case. Reading a case also raises the errors of other tasks.
        """
        if preparation is not None and preparation != self.preparation:
            raise SkipPair(f"{self.name} is preprocessed by its own plans and cannot follow those of the source")
        files = self.listed(split)
        if not files:
            raise InputError(f"{self.folder}: split {split} has no case")
        return Cases([partial(self._read, case) for case in files], place=f"{self.folder}: split {split}")

    def _read(self, files: CaseFiles) -> Case:
        with of_case():
            return self._checked(files)

    def _checked(self, files: CaseFiles) -> Case:
        image, labels = _array(files.images[0]), _array(files.labels)
        if image.ndim != 4 or labels.shape != (1, *image.shape[1:]):
            raise InputError(f"cannot use {files.labels}: its shape {labels.shape[1:]} differs from its image's "
                             f"{image.shape[1:]}")  # fmt: skip
        if len(image) != self.stated_channels:
            raise InputError(f"cannot use {files.images[0]}: it has {len(image)} channels, but dataset.json states "
                             f"{self.stated_channels}")  # fmt: skip
        stored = np.where(labels[0] == OUTSIDE, 0, labels[0]).astype(np.int16)
        if unknown := sorted(set(np.unique(stored).tolist()) - set(self.labelling.classes)):
            raise InputError(f"cannot use {files.labels}: label values must be in dataset.json "
                             f"{sorted(self.labelling.classes)}, got {unknown[0]}")  # fmt: skip
        if not np.isfinite(image).all():
            raise InputError(f"cannot use {files.images[0]}: voxels must be finite, got NaN or inf")
        spacing = (UNKNOWN_MM, *(self.preparation.spacing or ()))[-3:]
        return Case(files.name, torch.from_numpy(image.astype(np.float32)), torch.from_numpy(self.labelling(stored)),
                    spacing)  # fmt: skip


def _array(path: Path) -> NDArray[Any]:
    """Read a compressed array; a file that asks for code to be run is refused."""
    import blosc2  # type: ignore[import-untyped]  # it has no types

    if not path.is_file():
        raise InputError(f"{path} not found")
    try:
        return np.asarray(blosc2.open(urlpath=str(path), mode="r", deserialize=blosc2.DeserializeMode.SAFE)[:])
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise InputError(f"cannot read {path} as an array of nnU-Net: {' '.join(str(error).split())}") from error
