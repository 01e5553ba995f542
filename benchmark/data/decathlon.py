"""A task in the layout of the Medical Segmentation Decathlon (Antonelli et al., Nature Communications 2022)."""

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import nibabel.affines
import nibabel.filebasedimages
import nibabel.spatialimages
import numpy as np
import torch
from numpy.typing import NDArray

from benchmark.data.case import Case
from benchmark.data.digest import files_digest
from benchmark.data.normalise import Normalisation
from benchmark.data.preparation import Preparation
from benchmark.errors import InputError

MOST_CLASSES = 256  # labels travel as uint8
AFFINE_TOLERANCE = 1e-3  # mm; headers store float32, and writers round differently
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    zlib.error,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.spatialimages.ImageDataError,
)


@dataclass(frozen=True)
class DecathlonTask:
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
        path = Path(self.folder) / "dataset.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path} must exist; got none (for the embedded suite run `prepare` first)") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} must be UTF-8 JSON, got: {error}") from error
        if not isinstance(found, dict) or "labels" not in found or "training" not in found:
            raise InputError(f"{path} must be an object with the keys labels and training")
        labels = found["labels"]
        if not isinstance(labels, dict) or set(labels) != {str(value) for value in range(max(1, len(labels)))}:
            raise InputError(
                f"{path}: labels must map the values 0, 1, 2, ... to names, 0 the background, got {labels}"
            )
        if len(labels) > MOST_CLASSES:
            raise InputError(f"{path}: labels must be at most {MOST_CLASSES}, got {len(labels)}")
        return found

    @property
    def labels(self) -> dict[int, str]:
        """Label value -> class name, 0 first."""
        return {int(value): str(name) for value, name in sorted(self.description["labels"].items(), key=_value)}

    @property
    def classes(self) -> int:
        """The number of classes k, background included."""
        return max(self.labels) + 1

    @property
    def channels(self) -> int:
        """Input channels, as dataset.json counts its modalities."""
        modalities = self.description.get("modality")
        return len(modalities) if isinstance(modalities, dict) and modalities else 1

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

    def digest(self) -> str:
        """SHA-256 over dataset.json and every file that it lists."""
        root = Path(self.folder)
        listed = [path for key in self.splits.values() for pair in self._pairs(key) for path in pair]
        return files_digest([root / "dataset.json", *listed])

    def has(self, split: str) -> bool:
        """Whether dataset.json lists a case of the split."""
        return split in self.splits and bool(self.description.get(self.splits[split]))

    def names(self, split: str) -> list[str]:
        """The names of the cases of a split, in the order of dataset.json."""
        return [_stem(image) for image, _ in self._pairs(self._key(split))]

    def cases(self, split: str, preparation: Preparation | None = None) -> list[Case]:
        """Read every case of a split.

        Args:
            split: The split's name.
            preparation: How volumes become a network's input; the task's own by default.

        Raises:
            InputError: The split lists no case or one twice, a file is missing or corrupt, shapes or affines differ, a
                voxel is NaN, a label value is not in dataset.json, or no case of the split has a foreground voxel.
        """
        names = self.names(split)
        if not names:
            raise InputError(f"{self.folder}/dataset.json: {self._key(split)} must list at least one case, got none")
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: {self._key(split)} must name each case once, got {twice[0]}")
        chosen = preparation or self.preparation
        cases = [self._read(image, labels, chosen) for image, labels in self._pairs(self._key(split))]
        if not any(bool(case.labels.any()) for case in cases):
            raise InputError(f"{self.folder}: split {split} must hold a foreground voxel in some case, got none")
        return cases

    def _key(self, split: str) -> str:
        if split not in self.splits:
            raise InputError(f"task {self.name} has the splits {', '.join(self.splits)}, got {split}")
        return self.splits[split]

    def _pairs(self, key: str) -> list[tuple[Path, Path]]:
        entries = self.description.get(key, [])
        pairs = []
        for entry in entries if isinstance(entries, list) else [entries]:
            paths: list[Any] = [entry.get(part) for part in ("image", "label")] if isinstance(entry, dict) else [None]
            if not all(isinstance(path, str) for path in paths):
                raise InputError(f"{self.folder}/dataset.json: {key} must list objects with the paths image and label, "
                                 f"got {entry}")  # fmt: skip
            pairs.append((self._inside(paths[0]), self._inside(paths[1])))
        return pairs

    def _inside(self, relative: str) -> Path:
        root = Path(self.folder).resolve()
        path = (root / relative).resolve()
        if not path.is_relative_to(root):
            raise InputError(f"{self.folder}/dataset.json: paths must stay inside the folder, got {relative}")
        return path

    def _read(self, image_path: Path, label_path: Path, preparation: Preparation) -> Case:
        image, affine = _load(image_path)
        labels, label_affine = _load(label_path)
        self._check(image_path, label_path, image, labels, affine, label_affine)
        spacing = tuple(float(s) for s in nib.affines.voxel_sizes(affine))
        values = torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))
        channels = values[None] if values.ndim == 3 else values.movedim(-1, 0)
        return Case(
            name=_stem(image_path),
            image=preparation(channels),
            labels=torch.from_numpy(np.ascontiguousarray(labels).astype(np.uint8)),
            spacing=spacing,
        )

    def _check(  # noqa: PLR0917 - two files with three things each
        self,
        image_path: Path,
        label_path: Path,
        image: NDArray[Any],
        labels: NDArray[Any],
        affine: NDArray[Any],
        label_affine: NDArray[Any],
    ) -> None:
        if labels.ndim != 3 or image.shape[:3] != labels.shape or image.ndim > 4:
            raise InputError(f"{label_path} must have its image's shape {image.shape[:3]}, got {labels.shape}")
        if not np.allclose(affine, label_affine, atol=AFFINE_TOLERANCE):
            raise InputError(f"{label_path} must have its image's affine, got a difference of "
                             f"{np.abs(affine - label_affine).max():.3g} mm")  # fmt: skip
        if not np.isfinite(image).all():
            raise InputError(f"{image_path} must hold finite voxels, got {int((~np.isfinite(image)).sum())} NaN or inf")
        unknown = sorted(set(np.unique(labels).tolist()) - set(self.labels))
        if unknown:
            raise InputError(f"{label_path} must hold label values of dataset.json {sorted(self.labels)}, "
                             f"got {unknown[0]:g}")  # fmt: skip


def _load(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        volume = nib.load(path)
        return np.asarray(volume.dataobj), np.asarray(volume.affine)
    except FileNotFoundError:
        raise InputError(f"{path} must exist, since dataset.json lists it") from None
    except UNREADABLE as error:
        raise InputError(f"{path} must be a readable NIfTI volume, got: {' '.join(str(error).split())}") from error


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _value(item: tuple[str, Any]) -> int:
    return int(item[0])
