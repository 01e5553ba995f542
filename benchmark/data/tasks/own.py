"""What tasks of a user's own data share: a folder, a split of the labelled cases, a plan."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.data.files.cases import CaseFiles
from benchmark.data.tasks.file_task import ListedTask
from benchmark.data.preprocessing.planning import Plan, Training
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.files.read_image import LIMIT_GIB, ending
from benchmark.data.tasks.splitting import Split, fold_split, seeded_split
from benchmark.errors import InputError


@dataclass(frozen=True)
class OwnTask(ListedTask):
    """Labelled cases in a folder, split by a seed or by a fold of nnU-Net's.

    Attributes:
        folder: The folder that holds dataset.json.
        name: The task's name; the folder's by default.
        test_share: Share of the labelled cases that is tested on, where the data set has no labelled test cases of
            its own.
        labelled: Most cases that are trained on and scored; None: all.
        fold: A fold of the folder's splits_final.json in the place of a seeded split.
        seed: Of the split.
        limit_gib: GiB that one file's voxels may take as float32; larger files are refused by their header.
        splits: Split -> what it is called in errors.
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
        """All labelled cases but those of `test_cases`."""

    def test_cases(self) -> list[CaseFiles]:
        """The data set's own labelled test cases, where it has any."""
        return []

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Check that every case is there; nothing is made.

        Args:
            cache: Not used; other tasks fetch packages into it.
            code: Not used; no code makes these cases.
        """
        for split in self.splits:
            self.listed(split)
        return False

    def is_made(self, *, code: str = "") -> bool:
        """Whether `prepare` has nothing to make."""
        return (Path(self.folder) / "dataset.json").is_file()

    def has(self, split: str) -> bool:
        """Whether a split holds a case."""
        return split in self.splits and bool(self.listed(split))

    def listed(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, by name."""
        if split not in self.splits:
            raise InputError(f"task {self.name} has the splits {', '.join(self.splits)}, got {split}")
        return self._listed[split]

    @cached_property
    def _listed(self) -> dict[str, list[CaseFiles]]:
        cases, own = self.labelled_cases(), self.test_cases()
        if not cases:
            raise InputError(f"{self.folder}/dataset.json: training must list at least one case, got none")
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
    """Stored volumes that a plan makes a network's input.

    Attributes:
        plan: The task's own preparation.
    """

    plan: Plan = field(default_factory=Plan)

    @property
    @abstractmethod
    def nnunet_labels(self) -> Mapping[str, Any]:
        """Name -> value, as nnU-Net's dataset.json has them."""

    @property
    @abstractmethod
    def channel_names(self) -> Mapping[str, str]:
        """Channel -> name."""

    @property
    def stated_channels(self) -> int | None:
        """Input channels, as dataset.json names them."""
        return len(self.channel_names) or None

    @cached_property
    def preparation(self) -> Preparation:
        """The plan's."""
        return self.plan.preparation(self._training)

    def _training(self) -> Training:
        files = self.listed("train")
        return Training(files, self.nnunet_labels, self.channel_names, ending(files[0].labels))
