"""Write a task as an nnU-Net raw dataset: one file per channel, one label file per case, dataset.json and the splits.

nnU-Net reads training and validation cases from `imagesTr` only; a custom `splits_final.json` separates them.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from filelock import FileLock
from torch import Tensor

from benchmark.core.labels import IGNORED
from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.preprocessing.schemes import ChannelSchemes, Scheme
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.training.nnunet.environment import NnunetSpace, short_hash

ENDING = ".nii.gz"
# stored intensities and spacing, with the axes (X, Y, Z) of a NIfTI file
STORED = Preparation(ChannelSchemes((Scheme("NoNormalization"),)), transpose=(2, 1, 0))


@dataclass(frozen=True)
class NnunetDataset:
    """An nnU-Net raw dataset.

    Attributes:
        name: Name of its folder, `Dataset123_name_digest`.
        description: Content of its dataset.json.
        splits: For each fold, the names of the training cases and of the predicted cases.
    """

    name: str
    description: dict[str, Any]
    splits: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def write_dataset(task: Task, space: NnunetSpace, *, train: str, held_out: Sequence[str]) -> NnunetDataset:
    """Write a task as a raw dataset, unless it exists.

    Args:
        task: The task; stored intensities are written, because nnU-Net normalises them itself.
        space: The nnU-Net folders.
        train: The training split.
        held_out: The splits to predict, one fold each; all folds share the training cases.

    Raises:
        InputError: A case name is in several splits.
    """
    names = {split: tuple(task.names(split)) for split in (train, *held_out)}
    everyone = [name for split in names.values() for name in split]
    if twice := sorted({name for name in everyone if everyone.count(name) > 1}):
        raise InputError(f"task {task.name} must list each case in one split, got {twice[0]} in several")
    digest = short_hash(json.dumps([task.digest(), list(names.items())]))
    title = "".join(letter for letter in task.name.title() if letter.isalnum())
    name = f"Dataset{int(digest, 16) % 1000:03d}_{title}_{digest}"
    folder = space.raw / name
    space.raw.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=space.raw, prefix=".partial-") as partial:
                _write(task, list(names), Path(partial) / name)
                shutil.move(Path(partial) / name, folder)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    return NnunetDataset(name, description, tuple((names[train], names[split]) for split in held_out))


def _write(task: Task, splits: Sequence[str], folder: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    files: dict[str, dict[str, str | list[str]]] = {}
    ignores = False
    for split in splits:
        for case in task.cases(split, STORED):
            images = [f"imagesTr/{case.name}_{channel:04d}{ENDING}" for channel in range(len(case.image))]
            files[case.name] = {"images": [*images], "label": f"labelsTr/{case.name}{ENDING}"}
            for path, volume in zip(images, case.image, strict=True):
                _nifti(volume, case, folder / path)
            known = case.labels != IGNORED
            ignores |= not bool(known.all())
            _nifti(case.labels.where(known, task.classes), case, folder / f"labelsTr/{case.name}{ENDING}")
    description = {
        # nnU-Net derives a normalisation from these names; the plans are set to the preparation's instead
        "channel_names": {str(channel): f"channel {channel}" for channel in range(task.channels)},
        "labels": {name: value for value, name in task.labels.items()} | ({"ignore": task.classes} if ignores else {}),
        "numTraining": len(files),
        "file_ending": ENDING,
        "dataset": files,  # without this nnU-Net starts a dozen processes to match file names
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")


def _nifti(volume: Tensor, case: Case, path: Path) -> None:
    """Write a volume without reordering its axes; nnU-Net reads them in reverse, which the plans undo."""
    nib.save(nib.Nifti1Image(volume.numpy(), np.diag([*case.spacing, 1.0])), path)
