"""A task in the layout of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 2022)."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.data.files.cases import CaseFiles
from benchmark.data.tasks.labelling import Labelling, plain_labelling
from benchmark.data.tasks.file_task import ListedTask, inside
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.files.read_image import stem
from benchmark.errors import InputError

MOST_CLASSES = 255  # labels travel as uint8, whose largest value means ignored


@dataclass(frozen=True)
class DecathlonTask(ListedTask):
    """A labelled data set on disk, read case by case.

    Attributes:
        name: The task's name.
        folder: The folder that holds dataset.json, imagesTr, labelsTr and so on.
        normalisation: How intensities become the network's input.
        splits: Name of a split -> the key of dataset.json that lists its cases. `training` and `test` are MSD's own.
    """

    name: str
    folder: str | Path
    normalisation: Normalisation = field(default_factory=Normalisation)
    splits: dict[str, str] = field(
        default_factory=lambda: {"train": "training", "validation": "validation", "test": "test"}
    )

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of dataset.json."""
        return read_description(Path(self.folder))

    @property
    def labelling(self) -> Labelling:
        """The values of dataset.json, which are the classes."""
        return plain_labelling(self.description["labels"])

    @property
    def stated_channels(self) -> int | None:
        """Input channels, as dataset.json counts its modalities."""
        modalities = self.description.get("modality")
        return len(modalities) if isinstance(modalities, dict) and modalities else None

    @property
    def preparation(self) -> Preparation:
        """The yaml's normalisation, on the stored grid."""
        return Preparation(self.normalisation)

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Check that dataset.json is there and whole; data of your own need no more.

        Args:
            cache: The folder of fetched packages.
            code: Digest of the code that makes a task; a task that was made by other code is made anew.

        Returns:
            False: nothing was made.
        """
        self.description  # noqa: B018 - reading it is the check
        return False

    def is_made(self, *, code: str = "") -> bool:
        """Whether `prepare` has nothing to make."""
        return (Path(self.folder) / "dataset.json").is_file()

    def recipe(self, code: str = "") -> str:
        """SHA-256 of all settings that decide what a task that makes itself holds, and of the code that makes it."""
        settings = {key: value for key, value in asdict(self).items() if key not in {"folder", "normalisation"}}
        return hashlib.sha256(json.dumps([settings, code], sort_keys=True, default=list).encode()).hexdigest()

    def _follows(self, recipe: str) -> bool:
        """Whether what lies in the folder was made by this recipe; dataset.json is read anew, as it may be replaced."""
        return replace(self).description.get("recipe") == recipe

    def has(self, split: str) -> bool:
        """Whether dataset.json lists a case of the split."""
        return split in self.splits and bool(self.description.get(self.splits[split]))

    def listed(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, in the order of dataset.json."""
        if split not in self.splits:
            raise InputError(f"task {self.name} has the splits {', '.join(self.splits)}, got {split}")
        return listed_pairs(self.folder, self.description, self.splits[split])


def read_description(folder: Path) -> dict[str, Any]:
    """The content of an MSD dataset.json.

    Raises:
        InputError: It is missing, not UTF-8 JSON, or lacks labels or training cases.
    """
    path = folder / "dataset.json"
    found = read_json(path)
    if "labels" not in found or "training" not in found:
        raise InputError(f"{path} must be an object with the keys labels and training")
    labels = found["labels"]
    if not isinstance(labels, dict) or set(labels) != {str(value) for value in range(max(1, len(labels)))}:
        raise InputError(f"{path}: labels must map the values 0, 1, 2, ... to names, 0 the background, got {labels}")
    if len(labels) > MOST_CLASSES:
        raise InputError(f"{path}: labels must be at most {MOST_CLASSES}, got {len(labels)}")
    return found


def read_json(path: Path) -> dict[str, Any]:
    """The object in a dataset.json.

    Raises:
        InputError: It is missing, or not a UTF-8 JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} must exist; got none (for the embedded suite run `prepare` first)") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} must be UTF-8 JSON, got: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must be an object with the keys labels and training")
    return found


def listed_pairs(folder: str | Path, description: dict[str, Any], key: str) -> list[CaseFiles]:
    """The files that a key of dataset.json lists.

    Raises:
        InputError: An entry is no pair of image and label, or a path leaves the folder.
    """
    entries = description.get(key, [])
    found = []
    for entry in entries if isinstance(entries, list) else [entries]:
        paths: list[Any] = [entry.get(part) for part in ("image", "label")] if isinstance(entry, dict) else [None]
        if not all(isinstance(path, str) for path in paths):
            raise InputError(f"{folder}/dataset.json: {key} must list objects with the paths image and label, "
                             f"got {entry}")  # fmt: skip
        image, labels = (inside(folder, path) for path in paths)
        found.append(CaseFiles(stem(image), (image,), labels))
    return found
