"""A row of the performance table, and the measurement of time and memory for it.

A row compares our result with that of a reference: their ratio, its bound, and accuracy checks.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from statistics import median
from typing import ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

import torch
from threadpoolctl import threadpool_limits

from benchmark.jobs.resources import peak_memory, reset_peak_memory

Rule: TypeAlias = Literal["at most", "at least", "within"]
Result = TypeVar("Result")
Ours = TypeVar("Ours")
Reference = TypeVar("Reference")


@dataclass(frozen=True)
class Check:
    """An error that must not exceed its tolerance; NaN exceeds it.

    Attributes:
        error: measured error.
        tolerance: maximum error.
    """

    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Measurement:
    """A row of the performance table.

    Attributes:
        ours: seconds or megabytes of this project's code; see `unit`.
        reference: the same for the reference.
        rule: "at most" for a cost, ours / reference; "at least" for a gain, reference / ours; "within" a range for a
            prediction, ours / reference.
        bound: bound of the ratio.
        device: device that our code ran on.
        unit: unit of `ours` and `reference`, "s" or "MB".
        checks: accuracy checks by name.
        details: further figures by name.
        lowest: lowest ratio of a range; its highest is `bound`.

    Example:
        >>> row = Measurement(ours=2.0, reference=90.0, rule="at least", bound=40.0, device="cpu")
        >>> row.ratio, row.holds
        (45.0, True)
    """

    ours: float
    reference: float
    rule: Rule
    bound: float
    device: str
    unit: str = "s"
    checks: Mapping[str, Check] = field(default_factory=dict)
    details: Mapping[str, float] = field(default_factory=dict)
    lowest: float = 0.0

    @property
    def ratio(self) -> float:
        """Ours / reference for a cost and a prediction, reference / ours for a gain."""
        return self.reference / self.ours if self.rule == "at least" else self.ours / self.reference

    @property
    def within(self) -> bool:
        """Whether the ratio is within its bound."""
        if self.rule == "at least":
            return self.ratio >= self.bound
        return (self.rule == "at most" or self.ratio >= self.lowest) and self.ratio <= self.bound

    @property
    def requirement(self) -> str:
        """What the ratio must be, in words."""
        return f"{self.lowest:g} to {self.bound:g}" if self.rule == "within" else f"{self.rule} {self.bound:g}"

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its bound and all checks pass."""
        return self.within and all(check.holds for check in self.checks.values())

    def entry(self, name: str) -> dict[str, object]:
        """The row as plain data for JSON, with its name."""
        return asdict(self) | {"name": name, "ratio": self.ratio, "holds": self.holds}


class PerfRow(Protocol):
    """A row that can be measured; its fields are set in conf/perf.yaml."""

    def measure(self, device: str) -> Measurement:
        """Measure our code and the reference on a device."""


@dataclass(frozen=True)
class Timed(Generic[Ours, Reference]):
    """Median times, and the results of the last run.

    Attributes:
        ours: seconds of our function.
        reference: seconds of the reference.
        result: result of our function.
        expected: result of the reference.
    """

    ours: float
    reference: float
    result: Ours
    expected: Reference


@dataclass(frozen=True, kw_only=True)
class TimedRow:
    """Base of the rows that time our code and a reference.

    Attributes:
        rule: rule of the ratio of times, see `Measurement`.
        repeats: number of timed runs of each, at least 1.
        bound: bound of the ratio.
    """

    rule: ClassVar[Rule]
    repeats: int
    bound: float

    def _time(
        self, ours: Callable[[], Ours], reference: Callable[[], Reference], device: str
    ) -> Timed[Ours, Reference]:
        """Run two functions in alternation, so that a slowdown of the machine affects both; their median times."""
        if self.repeats < 1:
            raise ValueError(f"`repeats` must be at least 1, got {self.repeats}")
        our_seconds, reference_seconds = [], []
        for _ in range(self.repeats):
            seconds, result = _timed(ours, device)
            our_seconds.append(seconds)
            seconds, expected = _timed(reference, device)
            reference_seconds.append(seconds)
        return Timed(median(our_seconds), median(reference_seconds), result, expected)

    def _measurement(
        self,
        timed: Timed[Ours, Reference],
        device: str,
        *,
        checks: Mapping[str, Check],
        details: Mapping[str, float] | None = None,
        share: float = 1.0,
    ) -> Measurement:
        """The row; `share` is the part of the reference's work that was timed."""
        return Measurement(
            timed.ours,
            timed.reference / share,
            self.rule,
            self.bound,
            device,
            checks=checks,
            details=details or {},
        )


@dataclass(frozen=True)
class Used:
    """Time and memory that work took in a process.

    Attributes:
        seconds: wall-clock seconds.
        cpu_seconds: CPU seconds.
        before: megabytes in use before, imports included.
        peak: peak megabytes from then on.
    """

    seconds: float
    cpu_seconds: float
    before: float
    peak: float


def use(work: Callable[[], object], device: str = "cpu") -> Used:
    """Run a function once and measure the time and memory that it takes."""
    reset_peak_memory(device)
    before, cpu_start, start = peak_memory(device), time.process_time(), time.perf_counter()
    work()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return Used(seconds, cpu_seconds, before, peak_memory(device))


def in_fresh_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function in a new process with as many threads as this one, whose peak memory does not affect it.

    Args:
        function: module-level function, which can be pickled.
        arguments: arguments that can be pickled.

    Returns:
        The result of the function; its exceptions are raised here.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), limit_threads, (torch.get_num_threads(),)) as pool:
        return pool.submit(function, *arguments).result()


def limit_threads(count: int) -> None:
    """Set the number of threads of torch, numpy and scipy in this process."""
    torch.set_num_threads(count)
    threadpool_limits(limits=count)


def _timed(run: Callable[[], Result], device: str) -> tuple[float, Result]:
    _wait(device)
    start = time.perf_counter()
    result = run()
    _wait(device)
    return time.perf_counter() - start, result


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
