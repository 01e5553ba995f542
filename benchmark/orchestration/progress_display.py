"""Progress of a bench: a live bar with the current job below it, or plain lines if the output is not a terminal."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark.orchestration.remaining_time import RemainingTime, readable

REFRESH = 0.5  # seconds
PLAIN_EVERY = 15.0  # seconds between two plain lines
JUDGED_FROM = 0.2  # share of the bench's time from which its shown remaining times are judged


@dataclass
class Board:
    """Progress of a bench, read from the file that its jobs append to, and the remaining time that was shown.

    Attributes:
        path: The file.
        console: Where progress is shown.
        start: time.monotonic() when the bench began.
        remaining: The work of the stages of this bench.
        finished: Keys of finished runs.
        shares: Key -> share of the run's steps that are done, 1 for a finished run.
        current: The last step that a job reported.
        shown: Seconds since the start, and the remaining seconds that were shown then.
    """

    path: Path
    console: Console = field(default_factory=Console)
    start: float = field(default_factory=time.monotonic)
    remaining: RemainingTime = field(default_factory=RemainingTime)
    finished: set[str] = field(default_factory=set)
    shares: dict[str, float] = field(default_factory=dict)
    current: dict[str, Any] = field(default_factory=dict)
    shown: list[tuple[float, float]] = field(default_factory=list)
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
                    self.shares[entry["finished"]] = 1.0
                else:
                    self.current = entry
                    self.shares[entry["key"]] = entry["done"] / entry["total"]
        self.remaining.parallel = max(self.remaining.parallel, len(self.shares.keys() - self.finished))

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def left(self) -> str:
        """Describe the remaining time, and record what was shown at most every 15 seconds."""
        now = self.elapsed()
        seconds = self.remaining.seconds(self.shares, now)
        if not self.shown or now - self.shown[-1][0] >= PLAIN_EVERY - REFRESH:
            self.shown.append((now, seconds))
        return readable(seconds)

    def write_shown(self) -> str | None:
        """Write the shown and the actual remaining times to `remaining_time.csv`.

        Returns:
            A line that says how far off they were; None if none was shown after a fifth of the bench's time.
        """
        whole = self.elapsed()
        rows = pd.DataFrame(self.shown, columns=["elapsed", "shown"]).assign(took=lambda row: whole - row["elapsed"])
        rows.round(1).to_csv(self.path.with_name("remaining_time.csv"), index=False)
        late = rows[rows["elapsed"] >= JUDGED_FROM * whole].dropna()
        if late.empty:
            return None
        off = (late["shown"] / late["took"] - 1.0).abs()
        return (f"remaining time shown from {JUDGED_FROM:.0%} of the time on: off by {off.median():.0%} in the median, "
                f"{off.max():.0%} at most")  # fmt: skip


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
    board.remaining.begin(stage, board.elapsed())
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        board.remaining.end(stage, board.elapsed())


def _live(board: Board, stage: str, keys: set[str], stop: threading.Event) -> None:
    columns = (TextColumn("{task.description:<44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[left]}"))  # fmt: skip
    with Progress(*columns, console=board.console, transient=True) as progress:
        whole = progress.add_task(stage, total=len(keys), left="")
        job = progress.add_task("  starting", total=1, left="")
        while True:
            over = stop.wait(REFRESH)
            board.read()
            progress.update(whole, completed=len(board.finished & keys), left=board.left())
            if board.current:
                entry = board.current
                progress.update(job, description=f"  {entry['job']}", completed=entry["done"], total=entry["total"])
            if over:
                return


def _plain(board: Board, stage: str, keys: set[str], stop: threading.Event) -> None:
    while True:
        over = stop.wait(PLAIN_EVERY)
        board.read()
        done = len(board.finished & keys)
        if not over or done:
            board.console.print(f"{stage}: {done} of {len(keys)} runs done, {board.left()}", highlight=False)
        if over:
            return
