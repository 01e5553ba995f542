"""Tasks in the layout of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 2022)."""

import json
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.description import (
    Description,
    Labelling,
    inside,
    is_named_first,
    plain_labelling,
    read_description,
)
from benchmark.data.files.read_image import ending, stem
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError, check_whole
from benchmark.storage.digest import text_digest
from benchmark.storage.files import clear_partial, partial_folder


@dataclass(frozen=True)
class DecathlonTask(Task):
    """A labelled data set on disk, read case by case.

    Attributes:
        name: The task's name.
        folder: The folder with dataset.json, imagesTr, labelsTr and so on.
        normalisation: How intensities become the network's input.
        splits: Split -> the key of dataset.json that lists its cases. `training` and `test` are MSD's own.
    """

    name: str
    folder: str | Path
    normalisation: Normalisation = field(default_factory=Normalisation)
    splits: dict[str, str] = field(
        default_factory=lambda: {Split.TRAIN: "training", Split.VALIDATION: "validation", Split.TEST: "test"}
    )

    @cached_property
    def description(self) -> Description:
        """The content of dataset.json."""
        return read_msd_description(Path(self.folder))

    @property
    def labelling(self) -> Labelling:
        """The label values of dataset.json, which are the classes."""
        return plain_labelling(self.description["labels"])

    @property
    def stated_channels(self) -> int | None:
        """Input channels: the number of modalities in dataset.json."""
        modalities = self.description.get("modality")
        return len(modalities) if isinstance(modalities, dict) and modalities else None

    @property
    def preparation(self) -> Preparation:
        """The configured normalisation, on the stored grid."""
        return Preparation(self.normalisation)

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Check dataset.json; a data set that is not generated needs nothing else."""
        self.description  # noqa: B018 - reading it checks it
        return False

    def files(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, in the order of dataset.json."""
        return listed_pairs(self.folder, self.description, self.splits[split])


@dataclass(frozen=True)
class GeneratedTask(DecathlonTask):
    """A task whose cases are generated from settings; a new folder replaces an old one as a whole.

    Attributes:
        counts: Split -> number of cases.
    """

    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts: object = self.counts
        if not isinstance(counts, dict) or not set(counts) <= set(self.splits):
            raise InputError(f"task {self.name}: counts must map splits ({', '.join(self.splits)}) to numbers of "
                             f"cases, got {counts}")  # fmt: skip
        for split, number in counts.items():
            check_whole(f"task {self.name}: counts.{split}", number, least=0)

    @abstractmethod
    def generate(self, folder: Path, cache: Path, recipe: str) -> Description:
        """Write the cases into an empty folder, and return the content of dataset.json, which includes `recipe`."""

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Generate the cases, unless they exist; the caller must hold the task's lock.

        Raises:
            InputError: The folder contains a data set that was not generated.
        """
        if self.is_made(code=code):
            return False
        if super().is_made() and "recipe" not in replace(self).description:
            raise InputError(f"{self.folder} contains a data set that was not generated and would be replaced; "
                             "set another folder")  # fmt: skip
        clear_partial(Path(self.folder))
        with partial_folder(Path(self.folder)) as partial:
            description = self.generate(partial, cache, self.recipe(code))
            (partial / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        return True

    def is_made(self, *, code: str = "") -> bool:
        """Whether the cases exist and were generated with these settings by this code."""
        # dataset.json is read again, since it may have changed
        return super().is_made() and replace(self).description.get("recipe") == self.recipe(code)

    def recipe(self, code: str = "") -> str:
        """SHA-256 of the settings that decide the cases, and of the code that generates them."""
        settings = {key: value for key, value in asdict(self).items() if key not in {"folder", "normalisation"}}
        return text_digest(json.dumps([settings, code], sort_keys=True, default=list))

    def write_case(
        self, folder: Path, split: str, index: int, volumes: Sequence[NDArray[np.generic]], *, spacing: float
    ) -> dict[str, str]:
        """Write the `index`-th case of a split, and return its entry in dataset.json.

        `volumes` are the (X, Y, Z) intensities and the labels, with `spacing` mm along each axis.
        """
        part = "Ts" if split in {Split.TEST, Split.EXTERNAL} else "Tr"
        entry = {}
        for kind, volume in zip(("image", "label"), volumes, strict=True):
            path = f"{kind}s{part}/{self.name}_{split}_{index:02d}.nii.gz"
            (folder / path).parent.mkdir(exist_ok=True)
            write_nifti(volume, folder / path, spacing=spacing)
            entry[kind] = f"./{path}"
        return entry


def read_msd_description(folder: Path) -> Description:
    """The content of an MSD dataset.json.

    Raises:
        InputError: The file is missing, not UTF-8 JSON, or lacks labels or training cases.
    """
    path, description = folder / "dataset.json", read_description(folder)
    if "labels" not in description or "training" not in description:
        raise InputError(f"{path} must have the keys labels and training, got {sorted(description)}")
    labels = description["labels"]
    if is_named_first(labels):
        turned = json.dumps({str(value): name for name, value in labels.items()})
        raise InputError(f"{path}: labels map names to values, as nnU-Net v2 has them; MSD maps values to names: "
                         f"write {turned}")  # fmt: skip
    if not isinstance(labels, dict) or set(labels) != {str(value) for value in range(max(1, len(labels)))}:
        raise InputError(f"{path}: labels must map the values 0, 1, 2, ... to names, 0 the background, got {labels}")
    return description


def listed_pairs(folder: str | Path, description: Description, key: str, *, links: bool = False) -> list[CaseFiles]:
    """The files that a key of dataset.json lists.

    nnU-Net v1 lists `case.nii.gz` and stores its channels as `case_0000.nii.gz`, `case_0001.nii.gz`, ...; these are
    read if the listed file does not exist.

    Raises:
        InputError: An entry is not a pair of image and label, a path leads outside the folder (by a symbolic link only
            if `links` is False), or a case of nnU-Net v1 lacks a channel.
    """
    modality = description.get("modality")
    channels = len(modality) if isinstance(modality, dict) else 0
    entries = description.get(key, [])
    cases = []
    for entry in entries if isinstance(entries, list) else [entries]:
        paths: list[object] = [entry.get(part) for part in ("image", "label")] if isinstance(entry, dict) else [None]
        if not all(isinstance(path, str) for path in paths):
            raise InputError(f"{folder}/dataset.json: {key} must list objects with the paths image and label, "
                             f"got {entry}")  # fmt: skip
        image, labels = (inside(folder, str(path), links=links) for path in paths)
        images = (image,) if image.is_file() else _channel_files(image, channels) or (image,)
        if images != (image,):
            images = tuple(inside(folder, path, links=links) for path in images)
        cases.append(CaseFiles(stem(image), images, labels))
    return cases


def _channel_files(image: Path, channels: int) -> tuple[Path, ...]:
    """The files of a case in nnU-Net v1's layout; none if there are none.

    Args:
        image: The path that dataset.json lists.
        channels: The number of channels that dataset.json states; 0 if it states none.

    Raises:
        InputError: The channels are not those stated.
    """

    def numbered(channel: int) -> Path:
        return image.with_name(f"{stem(image)}_{channel:04d}{ending(image)}")

    first = next(channel for channel in count() if not numbered(channel).is_file())  # that does not exist
    present = [channel for channel in range(max(channels, first)) if numbered(channel).is_file()]
    if present and present != list(range(channels or first)):
        raise InputError(f"case {stem(image)} must have the channels 0 .. {channels - 1} of dataset.json as files such "
                         f"as {numbered(0)}, got {present}")  # fmt: skip
    return tuple(map(numbered, present))


def write_nifti(array: NDArray[np.generic], path: Path, *, spacing: float) -> None:
    """Write an (X, Y, Z) array in left-posterior-superior order as NIfTI, the spacing in its affine."""
    nib.save(nib.Nifti1Image(array, np.diag([-spacing, -spacing, spacing, 1.0])), path)
