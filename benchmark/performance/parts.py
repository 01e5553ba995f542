"""Parts of a check, each run in a process of its own with a time limit, so that one that fails or hangs stops no other.

What a part finds is written line by line to a file, and survives if the process is killed.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import torch

from benchmark.errors import with_class
from benchmark.performance.measurement import Measurement, PerfRow, limit_threads

Status: TypeAlias = Literal["passed", "failed", "skipped", "not run"]
RESULTS, LOG = "results.jsonl", "log"  # files of a part


@dataclass(frozen=True)
class PartResult:
    """One result of a part.

    Attributes:
        name: What was checked.
        status: "passed", "failed", "skipped" (needs something that is absent) or "not run" (no time left).
        reason: Why it did not pass; empty otherwise.
        figures: What was measured, by name.
    """

    name: str
    status: Status
    reason: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorder:
    """Writes the results of a part as they come.

    Attributes:
        path: The file.
    """

    path: Path

    def plan(self, names: Iterable[str]) -> None:
        """Record the names of all results that are to come, so that those that do not come can be named."""
        self._write({"plan": list(names)})

    def add(self, result: PartResult) -> None:
        """Record a result."""
        self._write({"result": asdict(result)})

    def _write(self, entry: Mapping[str, object]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


class Part(Protocol):
    """A part of a check.

    Attributes:
        seconds: Time limit.
    """

    @property
    def seconds(self) -> float: ...  # noqa: D102
    def run(self, device: str, recorder: Recorder) -> None:
        """Plan and record the results on a device; must be picklable."""


@dataclass(frozen=True)
class MeasuredRows:
    """Rows of a performance table: each passes if its bound and all of its checks hold.

    Attributes:
        seconds: Time limit.
        rows: Name -> row.
    """

    seconds: float
    rows: Mapping[str, PerfRow]

    def run(self, device: str, recorder: Recorder) -> None:
        """Measure the rows one after the other."""
        recorder.plan(self.rows)
        for name, row in self.rows.items():
            with failures_recorded(name, recorder):
                measured = row.measure(device)
                reason = "; ".join(_shortfalls(measured))
                recorder.add(PartResult(name, "failed" if reason else "passed", reason, measured.entry(name)))


@contextmanager
def failures_recorded(name: str, recorder: Recorder) -> Iterator[None]:
    """Record an exception of the block: of an absent package as skipped, any other as failed."""
    try:
        yield
    except ModuleNotFoundError as error:
        recorder.add(PartResult(name, "skipped", f"needs {(error.name or str(error)).partition('.')[0]}"))
    except Exception as error:
        recorder.add(PartResult(name, "failed", with_class(error)))


def _shortfalls(measured: Measurement) -> list[str]:
    bound = f"ratio must be {measured.requirement}, got {measured.ratio:.3g}"
    errors = [
        f"{name} must be at most {check.tolerance:.0e}, got {check.error:.1e}"
        for name, check in measured.checks.items()
        if not check.holds
    ]
    return errors + ([] if measured.within else [bound])


def run_part(part: Part, device: str, folder: Path, *, seconds: float) -> tuple[list[PartResult], float]:
    """Run a part in a new process, with as many threads as this one, and kill it at the end of its time.

    Args:
        part: The part.
        device: Device that it runs on.
        folder: Empty folder for its results and for what it prints.
        seconds: Time that is left to all parts; the part's own limit applies, too.

    Returns:
        Its results, those that did not come included, and the seconds that it took.
    """
    limit, start = min(part.seconds, seconds), time.monotonic()
    process = get_context("spawn").Process(target=_run, args=(part, device, folder, torch.get_num_threads()))
    process.start()
    try:
        process.join(limit)
        in_time = not process.is_alive()
    finally:
        _kill(process)
    crashed = in_time and process.exitcode != 0
    ending = f"its process ended with exit code {process.exitcode}; see {folder / LOG}" if crashed else ""
    return _read(folder / RESULTS, ending if in_time else f"time limit of {limit:.0f} s", crashed=crashed), (
        time.monotonic() - start
    )


def _run(part: Part, device: str, folder: Path, threads: int) -> None:
    """Run a part in this process, which is the first of a new process group; what it prints goes to a file."""
    os.setsid()
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    limit_threads(threads)
    part.run(device, Recorder(folder / RESULTS))


def _kill(process: BaseProcess) -> None:
    """Kill what is left of a process and of those that it started."""
    if process.pid is not None:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def _read(path: Path, ending: str, *, crashed: bool) -> list[PartResult]:
    """The results; of those that did not come, the first failed if the process crashed, and the others were not run."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    planned: list[str] = []
    results: dict[str, PartResult] = {}
    for line in lines:
        with suppress(ValueError):  # the last line of a process that was killed
            entry = json.loads(line)
            planned += entry.get("plan", [])
            if "result" in entry:
                results[entry["result"]["name"]] = PartResult(**entry["result"])
    left = [name for name in planned if name not in results] or (["start"] if ending and not planned else [])
    if crashed:
        name, *left = left or ["end"]
        results[name] = PartResult(name, "failed", ending)
    return [*results.values(), *(PartResult(name, "not run", ending or "no result") for name in left)]


def counts(results: Sequence[PartResult]) -> dict[str, int]:
    """Number of results by status, in a fixed order.

    Example:
        >>> counts([PartResult("a", "passed"), PartResult("b", "skipped", "needs ot")])
        {'passed': 1, 'skipped': 1}
    """
    every = [result.status for result in results]
    return {status: every.count(status) for status in ("passed", "failed", "skipped", "not run") if status in every}


def without_nan(value: object) -> object:
    """Plain data with None for NaN and infinity, which JSON lacks.

    Example:
        >>> without_nan({"a": [1.0, float("nan")]})
        {'a': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
