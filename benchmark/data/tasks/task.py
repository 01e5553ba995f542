"""What every task offers, wherever its cases lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation


class Task(Protocol):
    """A labelled data set, read case by case.

    Attributes:
        name: The task's name.
        folder: Where it lies.
        splits: Name of a split -> where the task lists its cases; `train` is what may be tuned on and scored, `test` is
            what the truth is measured on.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def folder(self) -> str | Path: ...  # noqa: D102
    @property
    def splits(self) -> dict[str, str]: ...  # noqa: D102

    @property
    def labels(self) -> dict[int, str]:
        """Label value -> class name, 0 (the background) first."""
        ...

    @property
    def classes(self) -> int:
        """The number of classes k, background included."""
        ...

    @property
    def channels(self) -> int:
        """Input channels."""
        ...

    @property
    def preparation(self) -> Preparation:
        """The task's own: how its volumes become a network's input where nothing else is asked for."""
        ...

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Make or check what the task needs on disk; True if something was made."""
        ...

    def is_made(self, *, code: str = "") -> bool:
        """Whether `prepare` has nothing to make."""
        ...

    def digest(self) -> str:
        """SHA-256 over everything that decides its cases."""
        ...

    def has(self, split: str) -> bool:
        """Whether a split lists a case."""
        ...

    def names(self, split: str) -> list[str]:
        """The names of the cases of a split, in order."""
        ...

    def cases(self, split: str, preparation: Preparation | None = None) -> Sequence[Case]:
        """The cases of a split, prepared by the task's own preparation unless another is given."""
        ...
