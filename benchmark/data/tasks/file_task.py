"""What tasks share whose cases are files in a folder."""

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from benchmark.data.files.case import Case
from benchmark.data.files.cases import CaseFiles, Cases, Rules, count_channels, read_case
from benchmark.data.files.digest import files_digest
from benchmark.data.tasks.labelling import Labelling
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.files.read_image import LIMIT_GIB
from benchmark.errors import InputError


class ListedTask:
    """A task whose cases are files that a folder's dataset.json lists or names."""

    name: str
    folder: str | Path
    splits: dict[str, str]
    limit_gib: float = LIMIT_GIB

    @property
    @abstractmethod
    def labelling(self) -> Labelling:
        """Which class each stored label value is."""

    @property
    @abstractmethod
    def preparation(self) -> Preparation:
        """How volumes become a network's input where nothing else is asked for."""

    @property
    @abstractmethod
    def stated_channels(self) -> int | None:
        """Input channels as dataset.json states them; None where it does not."""

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
        """Input channels: as dataset.json states them, or else those of the first training case."""
        if self.stated_channels is not None:
            return self.stated_channels
        return count_channels(self.listed("train")[0], limit_gib=self.limit_gib)

    def digest(self) -> str:
        """SHA-256 over dataset.json, every listed file, and which split each case is in."""
        files = {split: self.listed(split) for split in self.splits}
        paths = [path for found in files.values() for case in found for path in (*case.images, case.labels)]
        split = [f"{name}: {[case.name for case in found]}" for name, found in sorted(files.items())]
        content = files_digest([Path(self.folder) / "dataset.json", *paths])
        return hashlib.sha256("\n".join([content, *split]).encode()).hexdigest()

    def names(self, split: str) -> list[str]:
        """The names of the cases of a split, in order."""
        return [files.name for files in self.listed(split)]

    def cases(self, split: str, preparation: Preparation | None = None) -> Sequence[Case]:
        """The cases of a split, each read when it is asked for.

        Args:
            split: The split's name.
            preparation: How volumes become a network's input; the task's own by default.

        Raises:
            InputError: The split lists no case or one twice; on reading, also what `read_case` says, and that no case
                of the split has a foreground voxel.
        """
        files, what = self.listed(split), self.splits.get(split, split)
        if not files:
            raise InputError(f"{self.folder}/dataset.json: {what} must list at least one case, got none")
        names = [one.name for one in files]
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"{self.folder}/dataset.json: {what} must name each case once, got {twice[0]}")
        chosen = preparation or self.preparation
        stated = "the first training case has" if self.stated_channels is None else "dataset.json states"
        rules = Rules(self.labelling, self.channels, f"{stated} {self.channels}", self.limit_gib)
        loaders = [partial(read_case, one, chosen, rules) for one in files]
        return Cases(loaders, place=f"{self.folder}: split {split}")


def inside(folder: str | Path, path: str | Path) -> Path:
    """A path within the folder, links followed.

    Raises:
        InputError: It leads outside.
    """
    root = Path(folder).resolve()
    found = (root / path).resolve()
    if not found.is_relative_to(root):
        raise InputError(f"{folder}/dataset.json: paths must stay inside the folder, got {path}")
    return found
