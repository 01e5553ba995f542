"""Rows on `score`: time relative to bare forward passes, memory with ten times the cases, memory of a large case."""

import math
from dataclasses import dataclass

from benchmark.performance.measurement import Check, Measurement, TimedRow, in_fresh_process
from benchmark.performance.workload import Scoring, phantom_cases, use_of_scoring


@dataclass(frozen=True)
class ScoreOverForward(TimedRow):
    """All metrics from one pass, compared with bare forward passes.

    Attributes:
        scoring: network and metrics.
        cases: number of cases.
        size: voxels of a case along each axis.
    """

    rule = "at most"
    scoring: Scoring
    cases: int
    size: int

    def measure(self, device: str) -> Measurement:
        """Time both; checks that no metric is undefined, since that would take no time."""
        network = self.scoring.build(device)
        cases = list(phantom_cases(self.cases, size=self.size, classes=self.scoring.classes))
        timed = self._time(
            lambda: self.scoring.score(network, cases, device),
            lambda: self.scoring.forward(network, cases, device),
            device,
        )
        checks = {"undefined": Check(sum(math.isnan(score.value) for score in timed.result.values()), 0)}
        return self._measurement(timed, device, checks=checks, details={"metrics": len(timed.result)})


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
            in_fresh_process(use_of_scoring, self.scoring, cases, self.size, device)
            for cases in (self.cases, self.cases * self.times)
        )
        passes = {"few_above_start": few.peak - few.before, "many_above_start": many.peak - many.before}
        return Measurement(many.peak, few.peak, "at most", self.bound, device, unit="MB", details=passes)


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
        used = in_fresh_process(use_of_scoring, self.scoring, 1, self.size, device)
        started = {"above_start": used.peak - used.before}
        return Measurement(used.peak, self.limit, "at most", self.bound, device, unit="MB", details=started)
