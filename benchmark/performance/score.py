"""Rows on `score`: time relative to bare forward passes, memory with ten times the cases, memory of a large case."""

import math
from dataclasses import dataclass

from benchmark.jobs.memory import peak_memory, reset_peak_memory
from benchmark.performance.measurement import Check, Measurement
from benchmark.performance.phantoms import phantom_cases
from benchmark.performance.processes import in_fresh_process
from benchmark.performance.scoring import Scoring, warm_up
from benchmark.performance.timing import time_both


@dataclass(frozen=True)
class ScoreOverForward:
    """All metrics from one pass, compared with bare forward passes.

    Attributes:
        scoring: network and metrics.
        cases: number of cases.
        size: voxels of a case along each axis.
        repeats: number of timed runs of each.
        bound: maximum ratio to the time of the forward passes.
    """

    scoring: Scoring
    cases: int
    size: int
    repeats: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Time both; checks that no metric is undefined, since that would take no time."""
        network = self.scoring.build(device)
        cases = list(phantom_cases(self.cases, size=self.size, classes=self.scoring.classes))
        timed = time_both(
            lambda: self.scoring.score(network, cases, device),
            lambda: self.scoring.forward(network, cases, device),
            repeats=self.repeats,
            device=device,
        )
        undefined = sum(math.isnan(score.value) for score in timed.found.values())
        return Measurement(
            timed.ours,
            timed.reference,
            "at most",
            self.bound,
            device,
            checks={"undefined": Check(undefined, 0)},
            details={"metrics": len(timed.found)},
        )


@dataclass(frozen=True)
class Peak:
    """Memory of a process in megabytes.

    Attributes:
        before: after imports, building the network and a small first pass.
        highest: peak from then on.
    """

    before: float
    highest: float


@dataclass(frozen=True)
class ScoreMemory:
    """Peak memory with some cases and with `times` as many, each in a fresh process.

    Attributes:
        scoring: network and metrics.
        cases: smaller number of cases.
        times: factor of the larger number.
        size: voxels of a case along each axis.
        bound: maximum ratio of the two peaks.
    """

    scoring: Scoring
    cases: int
    times: int
    size: int
    bound: float

    def measure(self, device: str) -> Measurement:
        """Compare the peaks of two processes; the details give the increase during the pass."""
        few, many = (
            in_fresh_process(peak_of_scoring, self.scoring, cases, self.size, device)
            for cases in (self.cases, self.cases * self.times)
        )
        passes = {"few_above_start": few.highest - few.before, "many_above_start": many.highest - many.before}
        return Measurement(many.highest, few.highest, "at most", self.bound, device, unit="MB", details=passes)


@dataclass(frozen=True)
class ScoreLargeCase:
    """Peak memory of a process that scores one large case, imports included, relative to a limit.

    Attributes:
        scoring: network and metrics.
        size: voxels of the case along each axis.
        limit: limit in megabytes.
        bound: maximum share of the limit.
    """

    scoring: Scoring
    size: int
    limit: float
    bound: float

    def measure(self, device: str) -> Measurement:
        """Score the case in a fresh process."""
        peak = in_fresh_process(peak_of_scoring, self.scoring, 1, self.size, device)
        started = {"above_start": peak.highest - peak.before}
        return Measurement(peak.highest, self.limit, "at most", self.bound, device, unit="MB", details=started)


def peak_of_scoring(scoring: Scoring, cases: int, size: int, device: str) -> Peak:
    """Score generated cases and measure the memory used.

    Args:
        scoring: network and metrics.
        cases: number of cases.
        size: voxels of a case along each axis.
        device: device of the network.

    Returns:
        Memory of the process.
    """
    network = scoring.build(device)
    warm_up(scoring, network, device)
    reset_peak_memory(device)
    before = peak_memory(device)
    scoring.score(network, phantom_cases(cases, size=size, classes=scoring.classes), device)
    return Peak(before, peak_memory(device))
