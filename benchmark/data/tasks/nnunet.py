"""Raw data sets of nnU-Net v2: Dataset501_X with imagesTr, labelsTr and dataset.json (Isensee et al. 2021)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.read_image import ENDINGS
from benchmark.data.tasks.file_task import inside
from benchmark.data.tasks.labelling import Labelling, nnunet_labelling
from benchmark.data.tasks.msd_layout import read_json
from benchmark.data.tasks.own import PlannedTask
from benchmark.errors import InputError

REQUIRED = ("channel_names", "labels", "file_ending")


@dataclass(frozen=True)
class NnunetTask(PlannedTask):
    """A folder such as nnUNet_raw/Dataset501_X; `nnunet_labelling` explains how regions become classes.

    If imagesTs and labelsTs exist, they are the test cases; otherwise training cases are held out.
    """

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of dataset.json."""
        return read_nnunet_description(Path(self.folder))

    @cached_property
    def labelling(self) -> Labelling:
        """Stored values, regions and the ignore label as exclusive classes."""
        return nnunet_labelling(self.description)

    @property
    def nnunet_labels(self) -> Mapping[str, Any]:
        """As in dataset.json."""
        labels: Mapping[str, Any] = self.description["labels"]
        return labels

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
            paths = tuple(inside(self.folder, str(path)) for path in images)
            cases.append(CaseFiles(str(name), paths, inside(self.folder, entry["label"])))
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
            channels.setdefault(match["name"], {})[int(match["channel"])] = inside(root, path.relative_to(root))
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
        root = Path(self.folder)
        return CaseFiles(name, tuple(files[channel] for channel in sorted(files)), inside(root, path.relative_to(root)))


def read_nnunet_description(folder: Path) -> dict[str, Any]:
    """Read a dataset.json of nnU-Net.

    Raises:
        InputError: The file is missing, not UTF-8 JSON, lacks a key or has a value of the wrong kind.
    """
    path = folder / "dataset.json"
    description = read_json(path)
    if missing := [key for key in REQUIRED if key not in description]:
        raise InputError(f"{path} must have the keys {', '.join(REQUIRED)}, missing: {', '.join(missing)}")
    names, last = description["channel_names"], description["file_ending"]
    if not isinstance(names, dict) or set(names) != {str(channel) for channel in range(max(1, len(names)))}:
        raise InputError(f"{path}: channel_names must map the channels 0, 1, ... to names, got {names}")
    if last not in ENDINGS:
        raise InputError(f"{path}: file_ending must be one of {', '.join(ENDINGS)}, got {last}")
    return description
