"""The base class of tasks: labelled data sets whose cases are files in a folder."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path

from benchmark.data.files.cases import BoxReader, Case, CaseFiles, count_channels, read_case
from benchmark.data.files.description import Description, Labelling
from benchmark.data.files.read_image import LIMIT_GIB
from benchmark.data.prepared.cases import Cases
from benchmark.data.prepared.request import CaseRequest
from benchmark.data.prepared.store import active_store
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.storage.digest import files_digest, text_digest, value_digest


class Split(StrEnum):
    """The splits that a task may have: for its use as a target, and for training a source on it."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"
    EXTERNAL = "external"  # test cases of another patient
    SOURCE_TRAIN = "source_train"
    SOURCE_VALIDATION = "source_validation"


def class_names(labels: Mapping[int, str]) -> set[str]:
    """The names of foreground classes in one spelling, so that `Liver` and `liver ` are the same class.

    Example:
        >>> sorted(class_names({0: "background", 1: "Left_Kidney ", 2: "liver"}))
        ['left kidney', 'liver']
    """
    return {re.sub(r"[\s_-]+", " ", name.strip().lower()) for value, name in labels.items() if value != 0}


class Task(ABC):
    """A labelled data set, read case by case.

    Attributes:
        name: The task's name.
        folder: The folder with dataset.json.
        splits: Split -> where the task lists its cases; `train` is used for fine-tuning and scoring, `test` to measure
            the truth.
        limit_gib: Largest size of a file's voxels as float32, GiB; larger files are refused by their header.
    """

    name: str
    folder: str | Path
    splits: dict[str, str]
    limit_gib: float = LIMIT_GIB

    @property
    @abstractmethod
    def description(self) -> Description:
        """The content of dataset.json."""

    @property
    @abstractmethod
    def labelling(self) -> Labelling:
        """The class of each stored label value."""

    @property
    @abstractmethod
    def preparation(self) -> Preparation:
        """How volumes become a network's input by default."""

    @property
    @abstractmethod
    def stated_channels(self) -> int | None:
        """Input channels stated in dataset.json; None if it states none."""

    @abstractmethod
    def files(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split that the task has, in order."""

    @property
    def labels(self) -> dict[int, str]:
        """Class -> name, 0 (the background) first."""
        return dict(enumerate(self.labelling.names))

    @property
    def classes(self) -> int:
        """The number of classes k, background included."""
        return len(self.labelling.names)

    @cached_property
    def channels(self) -> int:
        """Input channels: those stated in dataset.json, or else those of the first training case."""
        if self.stated_channels is not None:
            return self.stated_channels
        return count_channels(self.listed(Split.TRAIN)[0], limit_gib=self.limit_gib)

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Generate the task's files, or check that they exist.

        Args:
            cache: The folder of downloaded packages.
            code: Digest of the code that generates cases; cases of other code are replaced.

        Returns:
            True if something was generated or downloaded.
        """
        for split in self.splits:
            self.listed(split)
        return False

    def is_made(self, *, code: str = "") -> bool:
        """Whether `prepare` has nothing to do."""
        return (Path(self.folder) / "dataset.json").is_file()

    def digest(self) -> str:
        """SHA-256 over dataset.json, every listed file, and the split of each case."""
        files = {split: self.listed(split) for split in self.splits}
        paths = [path for cases in files.values() for case in cases for path in (*case.images, case.labels)]
        split = [f"{name}: {[case.name for case in cases]}" for name, cases in sorted(files.items())]
        return text_digest("\n".join([files_digest([Path(self.folder) / "dataset.json", *paths]), *split]))

    def case_digest(self, files: CaseFiles) -> str:
        """SHA-256 over the name and the files of a case, and what dataset.json says about reading it."""
        labelling = sorted(self.labelling.classes.items()), self.classes
        return value_digest([files.name, files.digest(), labelling, self.stated_channels])

    def case_digests(self, split: str) -> dict[str, str]:
        """Case -> its digest, in the order of the split; other cases do not change it."""
        return {files.name: self.case_digest(files) for files in self.listed(split)}

    def stored_case(self, files: CaseFiles) -> Case:
        """Read and check the files of a case, on the stored grid.

        Raises:
            CaseError: As in `read_case`.
        """
        return self._reader(Preparation())(files)

    def listed(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, in order.

        Raises:
            InputError: The task has no such split.
        """
        if split not in self.splits:
            raise InputError(f"task {self.name}: split must be one of {', '.join(self.splits)}, got {split}")
        return self.files(split)

    def has(self, split: str) -> bool:
        """Whether a split lists a case."""
        return split in self.splits and bool(self.listed(split))

    def names(self, split: str) -> list[str]:
        """The names of the cases of a split, in order."""
        return [files.name for files in self.listed(split)]

    def cases(self, split: str, preparation: Preparation | None = None) -> Cases:
        """The cases of a split, each read on access.

        Args:
            split: The split's name.
            preparation: How volumes become a network's input; None: the task's own.

        Raises:
            InputError: The split lists no case, or a case twice. Reading a case also raises the errors of `read_case`,
                and one if no case of the split has a foreground voxel.
            SkipPair: The task's voxels are stored as prepared, and `preparation` is another one.
        """
        files, names = self.listed(split), self.names(split)
        if not files:
            raise InputError(f"{self.folder}/dataset.json: {self.splits[split]} lists no case")
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: {self.splits[split]} lists {twice[0]} more than once")
        return Cases(
            self._requests(files, preparation or self.preparation),
            place=f"{self.folder}: split {split}",
            store=active_store(),
        )

    def first_case(self, split: str, preparation: Preparation | None = None) -> BoxReader:
        """The first case of a split, prepared alone; arguments and errors as in `cases`."""
        return self.cases(split, preparation)[:1].prepare(required=False).reader(0)

    def _requests(self, files: Sequence[CaseFiles], preparation: Preparation) -> list[CaseRequest]:
        read = self._reader(preparation)
        function = read.func if isinstance(read, partial) else read
        labelling = [sorted(self.labelling.classes.items()), self.labelling.names]
        settings = {"preparation": asdict(preparation), "labelling": labelling, "channels": self.channels}
        return [
            CaseRequest(case, read, settings, function.__module__, self.channels, preparation.spacing) for case in files
        ]

    def _reader(self, preparation: Preparation) -> Callable[[CaseFiles], Case]:
        """The function that reads a case."""
        stated = "the first training case has" if self.stated_channels is None else "dataset.json states"
        return partial(
            read_case, preparation=preparation, labelling=self.labelling, channels=self.channels, stated=stated,
            limit_gib=self.limit_gib,
        )  # fmt: skip
