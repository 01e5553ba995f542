"""Tasks of a user's own data: a folder, a split of the labelled cases, a plan; and folders of MSD as downloaded.

MSD (Antonelli et al., Nature Communications 2022) does not publish the labels of its test cases, so its labelled cases,
`training`, are split by a seed.
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.description import Labelling, plain_labelling
from benchmark.data.files.read_image import LIMIT_GIB, ending
from benchmark.data.preprocessing.planning import Plan, RawDataset
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.msd_layout import listed_pairs, read_msd_description
from benchmark.data.tasks.splitting import Parted, fold_split, seeded_split
from benchmark.data.tasks.task import Split, Task
from benchmark.errors import InputError, one_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnTask(Task):
    """Labelled cases in a folder, split by a seed or by a fold of nnU-Net.

    Attributes:
        folder: The folder with dataset.json.
        name: The task's name; the folder's by default.
        test_share: Share of the labelled cases that is used for testing if the data set has no labelled test cases.
        labelled: Largest number of cases for training and scoring; None: all.
        fold: A fold of the folder's splits_final.json, used instead of a seeded split.
        seed: Seed of the split.
        splits: Split -> its name in errors.
    """

    folder: str | Path
    name: str = ""
    test_share: float = 0.2
    labelled: int | None = None
    fold: int | None = None
    seed: int = 0
    limit_gib: float = LIMIT_GIB
    splits: dict[str, str] = field(init=False, default_factory=lambda: {Split.TRAIN: "training", Split.TEST: "test"})

    def __post_init__(self) -> None:
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

    @cached_property
    def _parted(self) -> dict[str, list[CaseFiles]]:
        cases, own = self.labelled_cases(), self.test_cases()
        if not cases:
            raise InputError(f"{self.folder}/dataset.json: training lists no case")
        files = {case.name: case for case in (*cases, *own)}
        names = [case.name for case in (*cases, *own)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: cases must have distinct names, got {twice[0]}")
        train, test = self._split([case.name for case in cases], sorted(case.name for case in own))
        return {Split.TRAIN: [files[name] for name in train], Split.TEST: [files[name] for name in test]}

    def _split(self, names: list[str], own: list[str]) -> Parted:
        if self.fold is not None:
            names, own = fold_split(Path(self.folder) / "splits_final.json", self.fold, names)
        share = 0.0 if own else self.test_share
        train, test = seeded_split(names, test_share=share, labelled=self.labelled, seed=self.seed)
        return train, own or test


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

    def _training(self) -> RawDataset:
        files = self.listed(Split.TRAIN)
        return RawDataset(files, self.nnunet_labels, self.channel_names, ending(files[0].labels))


@dataclass(frozen=True)
class MsdTask(PlannedTask):
    """A folder such as Task09_Spleen.

    Attributes:
        download: Whether MONAI downloads a missing folder; the archive is verified by its MD5.
    """

    download: bool = False

    @cached_property
    def description(self) -> dict[str, Any]:
        """The content of dataset.json."""
        if self.download:
            fetch(Path(self.folder))
        return read_msd_description(Path(self.folder))

    @property
    def labelling(self) -> Labelling:
        """The label values of dataset.json, which are the classes."""
        return plain_labelling(self.description["labels"])

    @property
    def nnunet_labels(self) -> Mapping[str, Any]:
        """Name -> value, with the name background for 0."""
        return {name if value else "background": value for value, name in self.labels.items()}

    @property
    def channel_names(self) -> Mapping[str, str]:
        """The modalities of dataset.json."""
        stated = self.description.get("modality")
        return {str(channel): str(name) for channel, name in stated.items()} if isinstance(stated, dict) else {}

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Download the folder if it is missing and `download` is set, and check that every case exists."""
        existed = self.is_made()
        super().prepare(cache, code=code)
        return not existed

    def labelled_cases(self) -> list[CaseFiles]:
        """The cases of `training`, without the hidden files that macOS adds."""
        pairs = listed_pairs(self.folder, self.description, "training")
        return [case for case in pairs if not case.name.startswith(".")]


def fetch(folder: Path) -> None:
    """Download an MSD data set and unpack it to its folder, unless the folder exists.

    Raises:
        InputError: MONAI has no data set of the folder's name, or the download fails.
    """
    from monai.apps import DecathlonDataset, download_and_extract

    if (folder / "dataset.json").is_file():
        return
    if folder.name not in DecathlonDataset.resource:
        known = ", ".join(DecathlonDataset.resource)
        raise InputError(f"the folder must be named one of {known} for download=true, got {folder.name}")
    url, md5 = DecathlonDataset.resource[folder.name], DecathlonDataset.md5[folder.name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.parent / f"{folder.name}.tar"
    with FileLock(f"{archive}.lock"):
        if (folder / "dataset.json").is_file():
            return
        log.info("fetching %s", url)
        try:
            download_and_extract(url, archive, folder.parent, hash_val=md5, hash_type="md5", progress=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"cannot download {folder} from {url}: {one_line(error)}") from error
