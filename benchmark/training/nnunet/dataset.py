"""nnU-Net's folders, and a task as a raw dataset in them.

A raw dataset has one file per channel, one label file per case, dataset.json and the splits. nnU-Net reads training and
validation cases from `imagesTr` only; a custom `splits_final.json` separates them.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from filelock import FileLock
from torch import Tensor

from benchmark.core.labels import IGNORED
from benchmark.data.files.cases import Case, CaseFiles
from benchmark.data.files.description import read_description
from benchmark.data.prepared.room import BEST_RATIO, check_room
from benchmark.data.prepared.store import active_store
from benchmark.data.preprocessing.normalise import ChannelSchemes, Scheme
from benchmark.data.preprocessing.planning import FOLDERS, RawDataset, environment, variables_of
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.jobs.interrupts import only_this_process_interrupted
from benchmark.storage.digest import text_digest
from benchmark.storage.files import partial_folder

ENDING = ".nii.gz"
# stored intensities and spacing, with the axes (X, Y, Z) of a NIfTI file
STORED = Preparation(ChannelSchemes((Scheme("NoNormalization"),)), transpose=(2, 1, 0))


def stored_as(orientation: str | None) -> Preparation:
    """Stored intensities and spacing of volumes in an orientation; None: as stored."""
    return replace(STORED, orientation=orientation)


@dataclass(frozen=True)
class NnunetSpace:
    """The folder of everything that nnU-Net writes.

    Attributes:
        root: The folder.
        processes: Number of processes for planning, preprocessing and export.
        augment_processes: Number of processes for augmentation, as in `NnunetTrainer`.
    """

    root: Path
    processes: int = 1
    augment_processes: int = 0

    @property
    def raw(self) -> Path:
        """Raw datasets."""
        return self.root / "raw"

    @property
    def preprocessed(self) -> Path:
        """Fingerprints, plans, preprocessed cases."""
        return self.root / "preprocessed"

    @contextlib.contextmanager
    def entered(self, log: Path, *, results: Path | None = None) -> Iterator[None]:
        """Run the block with nnU-Net's environment; its output is appended to `log`, its models go to `results`."""
        folders = dict(zip(FOLDERS, (self.raw, self.preprocessed, results or self.root / "results"), strict=True))
        for folder in (*folders.values(), log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        variables = variables_of(folders) | {
            "nnUNet_def_n_proc": str(self.processes),
            "nnUNet_n_proc_DA": str(self.augment_processes),
            "nnUNet_compile": "f",  # compilation takes seconds per source and rounds differently on each machine
            "nnUNet_wandb_enabled": "0",
        }
        with (
            only_this_process_interrupted(),
            log.open("a", encoding="utf-8") as stream,
            environment(variables),
            contextlib.redirect_stdout(stream),
            contextlib.redirect_stderr(stream),
            self._workers(),
        ):
            yield

    @contextlib.contextmanager
    def _workers(self) -> Iterator[None]:
        """Set nnU-Net's number of processes, which it reads from nnUNet_def_n_proc only on first import."""
        from nnunetv2.training.nnUNetTrainer import nnUNetTrainer

        before = nnUNetTrainer.default_num_processes
        nnUNetTrainer.default_num_processes = self.processes
        try:
            yield
        finally:
            nnUNetTrainer.default_num_processes = before


@dataclass(frozen=True)
class NnunetDataset:
    """An nnU-Net raw dataset.

    Attributes:
        name: Name of its folder, `Dataset123_name_digest`.
        description: Content of its dataset.json.
        splits: For each fold, the names of the training cases and of the predicted cases.
    """

    name: str
    description: dict[str, object]
    splits: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def write_dataset(
    task: Task, space: NnunetSpace, *, train: str, held_out: Sequence[str], orientation: str | None = None
) -> NnunetDataset:
    """Write a task as a raw dataset, unless it exists.

    Args:
        task: The task; stored intensities are written, because nnU-Net normalises them itself.
        space: The nnU-Net folders.
        train: The training split.
        held_out: The splits to predict, one fold each; all folds share the training cases.
        orientation: That of the volumes, as in `Preparation`, since nnU-Net does not reorient them.

    Raises:
        InputError: A case name is in several splits.
    """
    names = {split: tuple(task.names(split)) for split in (train, *held_out)}
    everyone = [name for split in names.values() for name in split]
    if twice := sorted({name for name in everyone if everyone.count(name) > 1}):
        raise InputError(f"task {task.name} must list each case in one split, got {twice[0]} in several")
    content = [task.digest(), list(names.items()), *([orientation] if orientation else [])]
    digest = short_hash(json.dumps(content))
    title = "".join(letter for letter in task.name.title() if letter.isalnum())
    name = f"Dataset{int(digest, 16) % 1000:03d}_{title}_{digest}"
    folder = space.raw / name
    space.raw.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            preparation = stored_as(orientation)
            _check_disk(task, list(names), preparation)
            with partial_folder(folder) as partial:
                _write(task, list(names), partial, preparation)
    return NnunetDataset(name, read_description(folder), tuple((names[train], names[split]) for split in held_out))


def _check_disk(task: Task, splits: Sequence[str], preparation: Preparation) -> None:
    """Evict prepared cases that no job uses, for the raw and the preprocessed copy of a task.

    Raises:
        InputError: Both copies cannot fit.
    """
    if (store := active_store()) is None:
        return
    sizes = [request.estimated_bytes for split in splits for request in task.cases(split, preparation).requests]
    needed = 2 * sum(sizes)
    check_room(int(needed * BEST_RATIO), store.room(), cases=len(sizes))
    store.evict(int(needed * BEST_RATIO))


def _write(task: Task, splits: Sequence[str], folder: Path, preparation: Preparation) -> None:
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    files = []
    ignores = False
    for split in splits:
        for case in task.cases(split, preparation):
            images = tuple(Path(f"imagesTr/{case.name}_{c:04d}{ENDING}") for c in range(len(case.image)))
            labels = Path(f"labelsTr/{case.name}{ENDING}")
            files.append(CaseFiles(case.name, images, labels))
            known = case.labels != IGNORED
            ignores |= not bool(known.all())
            volumes = (*case.image, case.labels.where(known, task.classes))
            for path, volume in zip((*images, labels), volumes, strict=True):
                _nifti(volume, case, folder / path)
    values = {name: value for value, name in task.labels.items()} | ({"ignore": task.classes} if ignores else {})
    # nnU-Net derives a normalisation from these names; the plans are set to the preparation's instead
    channels = {str(channel): f"channel {channel}" for channel in range(task.channels)}
    RawDataset(files, values, channels, ENDING).write(folder)


def _nifti(volume: Tensor, case: Case, path: Path) -> None:
    """Write a volume without reordering its axes; nnU-Net reads them in reverse, which the plans undo."""
    nib.save(nib.Nifti1Image(volume.numpy(), np.diag([*case.spacing, 1.0])), path)


def short_hash(content: str) -> str:
    """First eight hexadecimal digits of the SHA-256 of a text, for the names of folders."""
    return text_digest(content)[:8]
