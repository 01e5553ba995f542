"""Row on work with a budget of CPU time and memory, measured in a fresh process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.jobs.memory import peak_memory
from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.processes import in_fresh_process


@dataclass(frozen=True)
class Used:
    """CPU time and memory used.

    Attributes:
        seconds: CPU seconds.
        megabytes: peak memory of the process, imports included.
    """

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class WithinBudget:
    """CPU time relative to a budget, with peak memory as a check.

    Attributes:
        work: function to measure, called without arguments; must be picklable.
        seconds: budget in CPU seconds.
        megabytes: maximum memory.
        bound: maximum share of the budget.
    """

    work: Callable[[], object]
    seconds: float
    megabytes: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Run the work once, on the CPU; `device` is ignored."""
        used: Used = in_fresh_process(use, self.work)
        return Measurement(
            used.seconds,
            self.seconds,
            "at most",
            self.bound,
            "cpu",
            checks={"megabytes": Check(used.megabytes, self.megabytes)},
            details={"megabytes": used.megabytes},
        )


def use(work: Callable[[], object]) -> Used:
    """Run a function and measure the resources used.

    Args:
        work: function to run.

    Returns:
        CPU time and memory.
    """
    start = time.process_time()
    work()
    return Used(time.process_time() - start, peak_memory("cpu"))
