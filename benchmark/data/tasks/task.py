"""The protocol of tasks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmark.data.files.case import Case
from benchmark.data.preprocessing.preparation import Preparation


class Task(Protocol):
    """A labelled data set, read case by case.

    Attributes:
        name: The task's name.
        folder: The task's folder.
        splits: Split -> where the task lists its cases; `train` is used for fine-tuning and scoring, `test` to measure
            the truth.
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
        """The number of input channels."""
        ...

    @property
    def preparation(self) -> Preparation:
        """How the task's volumes become a network's input by default."""
        ...

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Generate or check the task's files; True if something was generated."""
        ...

    def is_made(self, *, code: str = "") -> bool:
        """Whether `prepare` has nothing to do."""
        ...

    def digest(self) -> str:
        """SHA-256 over everything that decides the task's cases."""
        ...

    def has(self, split: str) -> bool:
        """Whether a split lists a case."""
        ...

    def names(self, split: str) -> list[str]:
        """The names of the cases of a split, in order."""
        ...

    def cases(self, split: str, preparation: Preparation | None = None) -> Sequence[Case]:
        """The cases of a split, by default prepared by the task's own preparation."""
        ...
