"""Base class of tasks whose cases are files in a folder."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from benchmark.data.files.case import Case
from benchmark.data.files.cases import CaseFiles, Cases, Rules, count_channels, read_case
from benchmark.data.files.read_image import LIMIT_GIB
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.labelling import Labelling
from benchmark.errors import InputError
from benchmark.storage.digest import files_digest, text_digest


class ListedTask:
    """A task whose cases are files described by the dataset.json of a folder."""

    name: str
    folder: str | Path
    splits: dict[str, str]
    limit_gib: float = LIMIT_GIB

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
    def listed(self, split: str) -> list[CaseFiles]:
        """The files of the cases of a split, in order."""

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
        return count_channels(self.listed("train")[0], limit_gib=self.limit_gib)

    def digest(self) -> str:
        """SHA-256 over dataset.json, every listed file, and the split of each case."""
        files = {split: self.listed(split) for split in self.splits}
        paths = [path for cases in files.values() for case in cases for path in (*case.images, case.labels)]
        split = [f"{name}: {[case.name for case in cases]}" for name, cases in sorted(files.items())]
        content = files_digest([Path(self.folder) / "dataset.json", *paths])
        return text_digest("\n".join([content, *split]))

    def names(self, split: str) -> list[str]:
        """The names of the cases of a split, in order."""
        return [files.name for files in self.listed(split)]

    def cases(self, split: str, preparation: Preparation | None = None) -> Sequence[Case]:
        """The cases of a split, each read on access.

        Args:
            split: The split's name.
            preparation: How volumes become a network's input; None: the task's own.

        Raises:
            InputError: The split lists no case, or a case twice. Reading a case also raises the errors of `read_case`,
                and one if no case of the split has a foreground voxel.
        """
        files, what = self.listed(split), self.splits.get(split, split)
        if not files:
            raise InputError(f"{self.folder}/dataset.json: {what} lists no case")
        names = [case.name for case in files]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: {what} lists {twice[0]} more than once")
        chosen = preparation or self.preparation
        stated = "the first training case has" if self.stated_channels is None else "dataset.json states"
        rules = Rules(self.labelling, self.channels, f"{stated} {self.channels}", self.limit_gib)
        loaders = [partial(read_case, case, chosen, rules) for case in files]
        return Cases(loaders, place=f"{self.folder}: split {split}")


def inside(folder: str | Path, path: str | Path) -> Path:
    """The resolved path of a file within a folder.

    Raises:
        InputError: The path, with links followed, leads outside the folder.
    """
    root = Path(folder).resolve()
    resolved = (root / path).resolve()
    if not resolved.is_relative_to(root):
        raise InputError(f"{folder}/dataset.json: paths must stay inside the folder, got {path}")
    return resolved
