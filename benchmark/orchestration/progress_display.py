"""Progress of a bench: a live bar with the current job below it, or plain lines if the output is not a terminal."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

REFRESH = 0.5  # seconds
PLAIN_EVERY = 15.0  # seconds between two plain lines


@dataclass
class Board:
    """Progress read from the file that jobs append to.

    Attributes:
        path: The file.
        console: Where progress is shown.
        start: time.monotonic() when the bench began.
        work: Key of each run of this bench -> its work, in any unit.
    """

    path: Path
    console: Console = field(default_factory=Console)
    start: float = field(default_factory=time.monotonic)
    work: dict[str, float] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    current: dict[str, object] = field(default_factory=dict)
    _position: int = 0

    def read(self) -> None:
        """Read the lines appended since the last call."""
        if not self.path.is_file():
            return
        with self.path.open(encoding="utf-8") as stream:
            stream.seek(self._position)
            while (line := stream.readline()).endswith("\n"):
                self._position = stream.tell()
                entry = json.loads(line)
                if "finished" in entry:
                    self.finished.add(entry["finished"])
                else:
                    self.current = entry

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def share(self) -> float:
        """Finished share of the known work."""
        total = sum(self.work.values())
        return sum(self.work.get(key, 0.0) for key in self.finished) / total if total else 0.0


def remaining(share: float, elapsed: float) -> str:
    """Describe the remaining time at the pace so far."""
    if share <= 0.0:
        return "remaining time not known yet"
    left = max(0.0, elapsed * (1.0 - share) / share)  # shares may exceed 1 by rounding
    return f"about {int(left // 60)} min {int(left % 60):02d} s left"


@contextmanager
def watch(board: Board, stage: str, keys: set[str]) -> Iterator[None]:
    """Show a stage's progress while the block runs.

    Args:
        board: The progress of the bench.
        stage: The stage's name.
        keys: The keys of the stage's jobs.
    """
    stop = threading.Event()
    show = _live if board.console.is_terminal else _plain
    thread = threading.Thread(target=show, args=(board, stage, keys, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _live(board: Board, stage: str, keys: set[str], stop: threading.Event) -> None:
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[left]}"))  # fmt: skip
    with Progress(*columns, console=board.console, transient=True) as progress:
        whole = progress.add_task(stage, total=len(keys), left="")
        job = progress.add_task("  starting", total=1, left="")
        while True:
            over = stop.wait(REFRESH)
            board.read()
            left = remaining(board.share(), board.elapsed())
            progress.update(whole, completed=len(board.finished & keys), left=left)
            if board.current:
                entry = board.current
                progress.update(job, description=f"  {entry['job']}", completed=entry["done"], total=entry["total"])  # type: ignore[arg-type]
            if over:
                return


def _plain(board: Board, stage: str, keys: set[str], stop: threading.Event) -> None:
    while True:
        over = stop.wait(PLAIN_EVERY)
        board.read()
        done = len(board.finished & keys)
        if not over or done:
            left = remaining(board.share(), board.elapsed())
            board.console.print(f"{stage}: {done} of {len(keys)} runs done, {left}", highlight=False)
        if over:
            return
