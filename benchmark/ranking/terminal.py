"""How a ranking shows its progress: a bar with the remaining time, or plain lines where there is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass
class Screen:
    """Where a ranking prints, and the bar of its sources or cases.

    Attributes:
        console: The terminal or file.
    """

    console: Console = field(default_factory=Console)

    @contextmanager
    def progress(self, total: int) -> Iterator[None]:
        """Show a bar of `total` steps during the block."""
        columns = (
            TextColumn("{task.description}", markup=False),  # a source's name may hold a bracket
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self._task, self._total = self._bar.add_task("", total=total), total
        with self._bar:
            yield

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def begin(self, name: str) -> None:
        """A source begins."""
        self._bar.update(self._task, description=name)

    def begin_timing(self, name: str) -> None:
        """A source is about to be timed, and those before it are done."""
        done = self._bar.tasks[0].completed + 1 if self._bar.tasks[0].description else 0
        self._bar.update(self._task, description=f"timing one window of {name}", completed=done)

    def step(self, case: str) -> None:
        """A case is done."""
        self._bar.advance(self._task)

    def end(self, name: str, message: str, *, done: int) -> None:
        """Print what became of a source, with which `done` cases of the pool are finished."""
        self._bar.update(self._task, completed=done)
        left = (self._bar.tasks[0].elapsed or 0.0) * (self._total - done) / done
        self.say(f"{name}: {message}" + (f"; about {left:.0f} s left" if done < self._total else ""))
