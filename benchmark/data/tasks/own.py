"""Base classes of tasks of a user's own data: a folder, a split of the labelled cases, a plan."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.read_image import LIMIT_GIB, ending
from benchmark.data.preprocessing.planning import Plan, Training
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.file_task import ListedTask
from benchmark.data.tasks.splitting import Split, fold_split, seeded_split
from benchmark.errors import InputError


@dataclass(frozen=True)
class OwnTask(ListedTask):
    """Labelled cases in a folder, split by a seed or by a fold of nnU-Net.

    Attributes:
        folder: The folder with dataset.json.
        name: The task's name; the folder's by default.
        test_share: Share of the labelled cases that is used for testing if the data set has no labelled test cases.
        labelled: Largest number of cases for training and scoring; None: all.
        fold: A fold of the folder's splits_final.json, used instead of a seeded split.
        seed: Seed of the split.
        limit_gib: Largest size of a file's voxels as float32, GiB; larger files are refused by their header.
        splits: Split -> its name in errors.
    """

    folder: str | Path
    name: str = ""
    test_share: float = 0.2
    labelled: int | None = None
    fold: int | None = None
    seed: int = 0
    limit_gib: float = LIMIT_GIB
    splits: dict[str, str] = field(init=False, default_factory=lambda: {"train": "training", "test": "test"})

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", Path(self.folder).resolve().name)

    @property
    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """The content of dataset.json."""

    @abstractmethod
    def labelled_cases(self) -> list[CaseFiles]:
        """All labelled cases except those of `test_cases`."""

    def test_cases(self) -> list[CaseFiles]:
        """The data set's own labelled test cases, if it has any."""
        return []

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Check that every case exists; nothing is generated.

        Args:
            cache: Not used; other tasks download packages into it.
            code: Not used; no code generates these cases.
        """
        for split in self.splits:
            self.listed(split)
        return False

    def is_made(self, *, code: str = "") -> bool:
        """Whether `prepare` has nothing to do."""
        return (Path(self.folder) / "dataset.json").is_file()

    def has(self, split: str) -> bool:
        """Whether a split has a case."""
        return split in self.splits and bool(self.listed(split))

    def listed(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, in order."""
        if split not in self.splits:
            raise InputError(f"task {self.name}: split must be one of {', '.join(self.splits)}, got {split}")
        return self._listed[split]

    @cached_property
    def _listed(self) -> dict[str, list[CaseFiles]]:
        cases, own = self.labelled_cases(), self.test_cases()
        if not cases:
            raise InputError(f"{self.folder}/dataset.json: training lists no case")
        files = {case.name: case for case in (*cases, *own)}
        names = [case.name for case in (*cases, *own)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: cases must have distinct names, got {twice[0]}")
        split = self._split([case.name for case in cases], sorted(case.name for case in own))
        return {name: [files[case] for case in chosen] for name, chosen in split.items()}

    def _split(self, names: list[str], own: list[str]) -> Split:
        if self.fold is not None:
            chosen = fold_split(Path(self.folder) / "splits_final.json", self.fold, names)
            names, own = chosen["train"], chosen["test"]
        share = 0.0 if own else self.test_share
        split = seeded_split(names, test_share=share, labelled=self.labelled, seed=self.seed)
        return split | {"test": own} if own else split


@dataclass(frozen=True)
class PlannedTask(OwnTask):
    """A task whose plan turns stored volumes into a network's input.

    Attributes:
        plan: The task's own preparation.
    """

    plan: Plan = field(default_factory=Plan)

    @property
    @abstractmethod
    def nnunet_labels(self) -> Mapping[str, Any]:
        """Name -> value, as in nnU-Net's dataset.json."""

    @property
    @abstractmethod
    def channel_names(self) -> Mapping[str, str]:
        """Channel -> name."""

    @property
    def stated_channels(self) -> int | None:
        """Number of channels that dataset.json names; None if it names none."""
        return len(self.channel_names) or None

    @cached_property
    def preparation(self) -> Preparation:
        """The preparation of the plan."""
        return self.plan.preparation(self._training)

    def _training(self) -> Training:
        files = self.listed("train")
        return Training(files, self.nnunet_labels, self.channel_names, ending(files[0].labels))
