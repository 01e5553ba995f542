"""How a ranking shows its progress: a bar with the remaining time, or plain lines where there is no terminal."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@dataclass
class Screen:
    """Where a ranking prints, and the bar of its cases, which is shown while `bar` is entered.

    Attributes:
        total: Sources times cases.
        console: The terminal or file.
    """

    total: int
    console: Console = field(default_factory=Console)

    def __post_init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),  # a source's name may hold a bracket
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self._task = self.bar.add_task("", total=self.total)

    def say(self, line: str) -> None:
        """Print a line."""
        self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def begin(self, name: str) -> None:
        """A source begins."""
        self.bar.update(self._task, description=name)

    def step(self, case: str) -> None:
        """A case is done."""
        self.bar.advance(self._task)

    def end(self, name: str, message: str, *, done: int) -> None:
        """Print what became of a source, with which `done` cases of the pool are finished."""
        self.bar.update(self._task, completed=done)
        left = (self.bar.tasks[0].elapsed or 0.0) * (self.total - done) / done
        self.say(f"{name}: {message}" + (f"; about {left:.0f} s left" if done < self.total else ""))
