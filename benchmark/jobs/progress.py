"""Progress of jobs: every job appends lines to one file, which the progress display reads."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

PAUSE = 0.5  # seconds between two reports of one job


@dataclass
class Reporter:
    """Appends the progress of a job to a file; lines are short, so that appends of several processes do not mix.

    Attributes:
        path: The file, or None to report nothing.
        job: The job's readable name.
        key: The job's key.
        total: Number of steps of the job.
    """

    path: str | Path | None
    job: str
    key: str
    total: int
    _last: float = field(default=0.0, init=False)

    def step(self, done: int, loss: float = 0.0) -> None:
        """Report that `done` steps are done; at most twice a second. `loss` lets it serve as a training callback."""
        now = time.monotonic()
        if now - self._last < PAUSE and done < self.total:
            return
        self._last = now
        self._append({"job": self.job, "key": self.key, "done": done, "total": self.total})

    def finish(self) -> None:
        """Report that the job is finished."""
        self._append({"finished": self.key})

    def _append(self, entry: dict[str, object]) -> None:
        if self.path is None:
            return
        with Path(self.path).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**entry, "time": round(time.time(), 2), "pid": os.getpid()}) + "\n")
