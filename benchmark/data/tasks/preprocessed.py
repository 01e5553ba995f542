"""Folders that nnU-Net v2 has preprocessed: nnUNet_preprocessed/Dataset501_X with plans and compressed arrays.

The arrays are read as nnU-Net reads them, but for its pickles of properties, which are not opened: a pickle can run code,
and all that is needed of them, the spacing, stands in the plans.
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
from benchmark.data.files.digest import files_digest
from benchmark.data.tasks.labelling import Labelling, nnunet_labelling
from benchmark.data.tasks.file_task import inside
from benchmark.data.tasks.nnunet import read_nnunet_description
from benchmark.data.tasks.own import OwnTask
from benchmark.data.preprocessing.plans import preparation_from_plans, read_plans
from benchmark.data.preprocessing.preparation import OUTSIDE, Preparation
from benchmark.errors import InputError, SkipPair

UNKNOWN_MM = 1.0  # of the first axis under a 2D plan, whose spacing only the pickles know


@dataclass(frozen=True)
class PreprocessedTask(OwnTask):
    """A folder such as nnUNet_preprocessed/Dataset501_X. Its voxels are prepared, and stay as they are.

    Attributes:
        plans: Name of the plans, without .json.
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
        """Input channels, as dataset.json names them."""
        return len(self.description["channel_names"])

    @cached_property
    def preparation(self) -> Preparation:
        """What the plans did to the volumes."""
        return preparation_from_plans(self._plans, self.configuration)

    @cached_property
    def _plans(self) -> dict[str, Any]:
        return read_plans(Path(self.folder) / f"{self.plans}.json")

    def digest(self) -> str:
        """SHA-256 over dataset.json, the plans, every array, and which split each case is in."""
        return files_digest([Path(self.folder) / f"{self.plans}.json"]) + super().digest()

    def labelled_cases(self) -> list[CaseFiles]:
        """Every case of the configuration's folder."""
        from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

        self.preparation  # noqa: B018 - reading it checks the configuration
        identifier = self._plans["configurations"][self.configuration].get("data_identifier")
        folder = inside(self.folder, str(identifier or f"{self.plans}_{self.configuration}"))
        if not folder.is_dir():
            raise InputError(f"{folder} must be a folder of preprocessed cases, got none")
        names = sorted(nnUNetDatasetBlosc2.get_identifiers(str(folder)))
        return [CaseFiles(name, (folder / f"{name}.b2nd",), folder / f"{name}_seg.b2nd") for name in names]

    def cases(self, split: str, preparation: Preparation | None = None) -> Sequence[Case]:
        """The cases of a split, each read when it is asked for.

        Raises:
            SkipPair: Another preparation than that of the plans is asked for.
            InputError: As for other tasks.
        """
        if preparation is not None and preparation != self.preparation:
            raise SkipPair(f"{self.name} is preprocessed by its own plans and cannot follow those of the source")
        files = self.listed(split)
        if not files:
            raise InputError(f"{self.folder}: split {split} must hold at least one case, got none")
        return Cases([partial(self._read, one) for one in files], place=f"{self.folder}: split {split}")

    def _read(self, files: CaseFiles) -> Case:
        with of_case():
            return self._checked(files)

    def _checked(self, files: CaseFiles) -> Case:
        image, labels = _array(files.images[0]), _array(files.labels)
        if image.ndim != 4 or labels.shape != (1, *image.shape[1:]):
            raise InputError(f"{files.labels} must have its image's shape {image.shape[1:]}, got {labels.shape[1:]}")
        if len(image) != self.stated_channels:
            raise InputError(f"{files.images[0]} must have the {self.stated_channels} channels of dataset.json, "
                             f"got {len(image)}")  # fmt: skip
        stored = np.where(labels[0] == OUTSIDE, 0, labels[0]).astype(np.int16)
        if unknown := sorted(set(np.unique(stored).tolist()) - set(self.labelling.classes)):
            raise InputError(f"{files.labels} must hold label values of dataset.json "
                             f"{sorted(self.labelling.classes)}, got {unknown[0]}")  # fmt: skip
        if not np.isfinite(image).all():
            raise InputError(f"{files.images[0]} must hold finite voxels, got NaN or inf")
        spacing = (UNKNOWN_MM, *(self.preparation.spacing or ()))[-3:]
        return Case(files.name, torch.from_numpy(image.astype(np.float32)), torch.from_numpy(self.labelling(stored)),
                    spacing)  # fmt: skip


def _array(path: Path) -> NDArray[Any]:
    """A compressed array, whole; one whose file asks for code to be run is refused."""
    import blosc2  # type: ignore[import-untyped]  # it carries no types

    if not path.is_file():
        raise InputError(f"{path} must exist, got none")
    try:
        return np.asarray(blosc2.open(urlpath=str(path), mode="r", deserialize=blosc2.DeserializeMode.SAFE)[:])
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise InputError(f"{path} must be an array that nnU-Net wrote, got: {' '.join(str(error).split())}") from error
