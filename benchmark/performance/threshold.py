"""A row on work that has to stay within a budget of processor time and memory, in a process of its own."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.jobs.memory import peak_memory
from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.processes import in_fresh_process


@dataclass(frozen=True)
class Used:
    """What the work took.

    Attributes:
        seconds: of the processor.
        megabytes: the process's peak, imports included.
    """

    seconds: float
    megabytes: float


@dataclass(frozen=True)
class WithinBudget:
    """Processor time against a budget, with the peak memory as a check.

    Attributes:
        work: what is measured; called without arguments, and can be pickled.
        seconds: the budget of processor time.
        megabytes: the most memory.
        bound: the share of the budget that may be used.
    """

    work: Callable[[], object]
    seconds: float
    megabytes: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Do the work once; `device` does not matter to it."""
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
    """Do the work and tell what it took.

    Args:
        work: the work.

    Returns:
        Time and memory.
    """
    start = time.process_time()
    work()
    return Used(time.process_time() - start, peak_memory("cpu"))
