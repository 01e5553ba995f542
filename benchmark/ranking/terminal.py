"""How a ranking shows where it stands: a bar with the remaining time, or plain lines where there is no terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass
class Screen:
    """Where a ranking prints.

    Attributes:
        console: The terminal or file.
    """

    console: Console = field(default_factory=Console)

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def progress(self, total: int) -> Iterator["Steps"]:
        """Show the cases that are done while the block runs.

        Args:
            total: Sources times cases.
        """
        columns = (
            TextColumn("{task.description}", markup=False),  # a source's name may hold a bracket
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            yield Steps(self, bar, total)


@dataclass
class Steps:
    """A pool that is under way.

    Attributes:
        screen: Where it shows.
        bar: The live bar.
        total: Steps in all.
    """

    screen: Screen
    bar: Progress
    total: int

    def __post_init__(self) -> None:
        self._start = time.monotonic()
        self._done = 0
        self._task = self.bar.add_task("", total=self.total)

    def begin(self, name: str) -> None:
        """A source begins."""
        self.bar.update(self._task, description=name)

    def step(self, case: str) -> None:
        """A case is done."""
        self._done += 1
        self.bar.update(self._task, completed=self._done)

    def end(self, name: str, told: str, *, done: int) -> None:
        """A source is done, or was skipped.

        Args:
            name: Its name.
            told: What became of it.
            done: The steps that are done with it.
        """
        self._done = done
        self.bar.update(self._task, completed=done)
        elapsed = time.monotonic() - self._start
        left = elapsed * (self.total - done) / done
        self.screen.say(f"{name}: {told}" + (f"; about {left:.0f} s left" if done < self.total else ""))
