"""Tasks of a user's own data: a folder, a split of the labelled cases, a plan."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.description import NnunetLabels, inside
from benchmark.data.files.read_image import LIMIT_GIB, ending
from benchmark.data.preprocessing.planning import Plan, RawDataset
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.splitting import Parted, fold_split, seeded_split
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError


@dataclass(frozen=True)
class OwnTask(Task):
    """Labelled cases in a folder, split by a seed or by a fold of nnU-Net.

    Attributes:
        folder: The folder with dataset.json.
        name: The task's name; the folder's by default.
        test_share: Share of the labelled cases that is used for testing if the data set has no labelled test cases.
        labelled: Largest number of cases for training and scoring; None: all.
        fold: A fold of `folds`, used instead of a seeded split.
        folds: A file like nnU-Net's splits_final.json, in the folder or with an absolute path.
        held_out: The split of the cases that are not trained on: `test` or, for choosing a source, `validation`. With
            `validation` the data set's own labelled test cases are in no split, so that nothing of them is read.
        seed: Seed of the split.
        links: Whether symbolic links in the folder may lead out of it.
        splits: Split -> its name in errors.
    """

    folder: str | Path
    name: str = ""
    test_share: float = 0.2
    labelled: int | None = None
    fold: int | None = None
    folds: str = "splits_final.json"
    held_out: str = Split.TEST
    seed: int = 0
    limit_gib: float = LIMIT_GIB
    links: bool = False
    splits: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.held_out not in (Split.TEST, Split.VALIDATION):
            raise InputError(f"held_out must be test or validation, got {self.held_out}")
        self.splits.update({Split.TRAIN: "training", Split(self.held_out): str(self.held_out)})
        if not self.name:
            object.__setattr__(self, "name", Path(self.folder).resolve().name)

    @abstractmethod
    def labelled_cases(self) -> list[CaseFiles]:
        """All labelled cases except those of `test_cases`."""

    def test_cases(self) -> list[CaseFiles]:
        """The data set's own labelled test cases, if it has any."""
        return []

    def files(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, in order."""
        return self._parted[split]

    def _inside(self, path: str | Path) -> Path:
        """The absolute path of a file in the folder; errors as in `inside`."""
        return inside(self.folder, path, links=self.links)

    @cached_property
    def _parted(self) -> dict[str, list[CaseFiles]]:
        cases, own = self.labelled_cases(), self.test_cases() if self.held_out == Split.TEST else []
        if not cases:
            raise InputError(f"{self.folder}/dataset.json: training lists no case")
        files = {case.name: case for case in (*cases, *own)}
        names = [case.name for case in (*cases, *own)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: cases must have distinct names, got {twice[0]}")
        train, held_out = self._split([case.name for case in cases], sorted(case.name for case in own))
        return {Split.TRAIN: [files[name] for name in train], self.held_out: [files[name] for name in held_out]}

    def _split(self, names: list[str], own: list[str]) -> Parted:
        if self.fold is not None:
            names, own = fold_split(Path(self.folder) / self.folds, self.fold, names)
        share = 0.0 if own else self.test_share
        train, held_out = seeded_split(names, test_share=share, labelled=self.labelled, seed=self.seed)
        return train, own or held_out


@dataclass(frozen=True)
class PlannedTask(OwnTask):
    """A task whose plan turns stored volumes into a network's input.

    Attributes:
        plan: The task's own preparation.
    """

    plan: Plan = field(default_factory=Plan)

    @property
    @abstractmethod
    def nnunet_labels(self) -> NnunetLabels:
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

    def _training(self) -> RawDataset:
        files = self.listed(Split.TRAIN)
        return RawDataset(files, self.nnunet_labels, self.channel_names, ending(files[0].labels))
