"""Data sets of nnU-Net v2, raw or preprocessed (Isensee et al., Nature Methods 2021).

Preprocessed arrays are read as nnU-Net reads them. Its pickles of properties are not opened, since a pickle can run
code; the spacing, the only property needed, is in the plans.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.files.cases import Case, CaseFiles, of_case
from benchmark.data.files.description import (
    Description,
    Labelling,
    NnunetLabels,
    inside,
    nnunet_labelling,
    read_description,
)
from benchmark.data.files.read_image import ENDINGS
from benchmark.data.preprocessing.planning import Plans, preparation_from_plans, read_plans
from benchmark.data.preprocessing.preparation import OUTSIDE, Preparation
from benchmark.data.tasks.labelled_folder import OwnTask, PlannedTask
from benchmark.errors import InputError, SkipPair, one_line
from benchmark.storage.digest import files_digest

REQUIRED = ("channel_names", "labels", "file_ending")
UNKNOWN_MM = 1.0  # of the first axis under a 2D plan, whose spacing is only in the pickles


@dataclass(frozen=True)
class DescribedTask(OwnTask):
    """A folder with nnU-Net's dataset.json; `nnunet_labelling` explains how regions become classes."""

    @cached_property
    def description(self) -> Description:
        """The content of dataset.json."""
        return read_nnunet_description(Path(self.folder))

    @cached_property
    def labelling(self) -> Labelling:
        """Stored values, regions and the ignore label as exclusive classes."""
        return nnunet_labelling(self.description)

    @property
    def stated_channels(self) -> int:
        """Number of channels that dataset.json names."""
        return len(self.description["channel_names"])


@dataclass(frozen=True)
class NnunetTask(DescribedTask, PlannedTask):
    """A raw data set such as nnUNet_raw/Dataset501_X, with imagesTr and labelsTr.

    If imagesTs and labelsTs exist, they are the test cases; otherwise training cases are held out.
    """

    @property
    def nnunet_labels(self) -> NnunetLabels:
        """As in dataset.json."""
        return cast("NnunetLabels", self.description["labels"])

    @property
    def channel_names(self) -> Mapping[str, str]:
        """As in dataset.json."""
        return {str(channel): str(name) for channel, name in self.description["channel_names"].items()}

    def labelled_cases(self) -> list[CaseFiles]:
        """The cases of imagesTr, or those that dataset.json lists."""
        if "dataset" in self.description:
            return self._from_list(self.description["dataset"])
        return self._from_folders("Tr")

    def test_cases(self) -> list[CaseFiles]:
        """The cases of imagesTs, if labelsTs exists, too."""
        root = Path(self.folder)
        return self._from_folders("Ts") if (root / "imagesTs").is_dir() and (root / "labelsTs").is_dir() else []

    def _from_list(self, listed: Any) -> list[CaseFiles]:
        cases = []
        for name, entry in listed.items() if isinstance(listed, dict) else [("", listed)]:
            images = entry.get("images") if isinstance(entry, dict) else None
            if not isinstance(images, list) or not isinstance(entry.get("label"), str):
                raise InputError(f"{self.folder}/dataset.json: dataset must map names to images and label, got {entry}")
            paths = tuple(self._inside(str(path)) for path in images)
            cases.append(CaseFiles(str(name), paths, self._inside(entry["label"])))
        return cases

    def _from_folders(self, part: str) -> list[CaseFiles]:
        root, last = Path(self.folder), self.description["file_ending"]
        folder = root / f"images{part}"
        if not folder.is_dir():
            raise InputError(f"folder {folder} not found")
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        pattern = re.compile(rf"(?P<name>.+)_(?P<channel>\d{{4}}){re.escape(last)}")
        matches = [(path, match) for path in paths if (match := pattern.fullmatch(path.name))]
        if paths and not matches:
            raise InputError(f"{folder} must contain files NAME_0000{last}, got {paths[0].name}")
        channels: dict[str, dict[int, Path]] = {}
        for path, match in matches:
            channels.setdefault(match["name"], {})[int(match["channel"])] = self._inside(path.relative_to(root))
        return [self._case(name, files, root / f"labels{part}", last) for name, files in channels.items()]

    def _case(self, name: str, files: dict[int, Path], labels: Path, last: str) -> CaseFiles:
        if len(files) > 1 or min(files) != 0:  # a single file may have all channels, such as a colour image
            missing = sorted(set(range(len(self.channel_names))) - set(files))
            if missing or len(files) != len(self.channel_names):
                raise InputError(f"{self.folder}: case {name} must have the channels 0 .. "
                                 f"{len(self.channel_names) - 1}, got {sorted(files)}")  # fmt: skip
        path = labels / f"{name}{last}"
        if not path.is_file():
            raise InputError(f"{path} not found, but {files[min(files)].name} exists")
        images = tuple(files[channel] for channel in sorted(files))
        return CaseFiles(name, images, self._inside(path.relative_to(self.folder)))


@dataclass(frozen=True)
class PreprocessedTask(DescribedTask):
    """A folder such as nnUNet_preprocessed/Dataset501_X with plans and compressed arrays, whose voxels are prepared.

    Attributes:
        plans: Name of the plans file, without .json.
        configuration: Configuration of the plans.
    """

    plans: str = "nnUNetPlans"
    configuration: str = "3d_fullres"

    @cached_property
    def preparation(self) -> Preparation:
        """The preparation that the plans applied to the volumes."""
        return preparation_from_plans(self._plans, self.configuration)

    @cached_property
    def _plans(self) -> Plans:
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

    def stored_case(self, files: CaseFiles) -> Case:
        """As in `Task`; the arrays are read as they are."""
        return self._read(files)

    def _reader(self, preparation: Preparation) -> Callable[[CaseFiles], Case]:
        if preparation != self.preparation:
            raise SkipPair(f"{self.name} is preprocessed by its own plans and cannot follow those of the source")
        return self._read

    @of_case()
    def _read(self, files: CaseFiles) -> Case:
        image, labels = _array(files.images[0]), _array(files.labels)
        for path, array in ((files.images[0], image), (files.labels, labels)):
            if array.ndim != 4:
                raise InputError(f"cannot use {path}: it must have 4 axes, the channels first, got shape {array.shape}")
        if len(labels) != 1:
            raise InputError(f"cannot use {files.labels} as labels: it has {len(labels)} layers (shape "
                             f"{labels.shape}), expected 1 with the class of each voxel")  # fmt: skip
        if labels.shape[1:] != image.shape[1:]:
            raise InputError(f"cannot use {files.labels}: its shape {labels.shape[1:]} differs from its image's "
                             f"{image.shape[1:]}")  # fmt: skip
        if len(image) != self.stated_channels:
            raise InputError(f"cannot use {files.images[0]}: it has {len(image)} channels, but dataset.json states "
                             f"{self.stated_channels}")  # fmt: skip
        stored = np.where(labels[0] == OUTSIDE, 0, labels[0]).astype(np.int16)
        self.labelling.check(stored, files.labels)
        if not np.isfinite(image).all():
            raise InputError(f"cannot use {files.images[0]}: voxels must be finite, got NaN or inf")
        voxels, classes = torch.from_numpy(image.astype(np.float32)), torch.from_numpy(self.labelling(stored))
        return Case(files.name, voxels, classes, (UNKNOWN_MM, *(self.preparation.spacing or ()))[-3:])


def read_nnunet_description(folder: Path) -> Description:
    """Read a dataset.json of nnU-Net.

    Raises:
        InputError: The file is missing, not UTF-8 JSON, lacks a key or has a value of the wrong kind.
    """
    path, description = folder / "dataset.json", read_description(folder)
    if missing := [key for key in REQUIRED if key not in description]:
        hint = "; a folder of nnU-Net v1 is read like one of MSD (task=msd)" if "training" in description else ""
        raise InputError(f"{path} must have the keys {', '.join(REQUIRED)}, missing: {', '.join(missing)}{hint}")
    names, last = description["channel_names"], description["file_ending"]
    if not isinstance(names, dict) or set(names) != {str(channel) for channel in range(max(1, len(names)))}:
        raise InputError(f"{path}: channel_names must map the channels 0, 1, ... to names, got {names}")
    if last not in ENDINGS:
        raise InputError(f"{path}: file_ending must be one of {', '.join(ENDINGS)}, got {last}")
    return description


def _array(path: Path) -> NDArray[Any]:
    """Read a compressed array; a file that asks for code to be run is refused."""
    import blosc2

    if not path.is_file():
        raise InputError(f"{path} not found")
    try:
        return np.asarray(blosc2.open(urlpath=str(path), mode="r", deserialize=blosc2.DeserializeMode.SAFE)[:])
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        raise InputError(f"cannot read {path} as an array of nnU-Net: {one_line(error)}") from error
