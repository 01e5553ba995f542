"""Part of a check: every metric on a device agrees with its value on the CPU."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.metric.score import Score
from benchmark.performance.parts import PartResult, Recorder, failures_recorded
from benchmark.performance.workload import Scoring, phantom_cases
from benchmark.statistics import Statistics


@dataclass(frozen=True)
class ScoresAgree:
    """Scores of one network and the same cases on a device, compared with those on the CPU.

    Attributes:
        seconds: Time limit.
        scoring: Network and metrics.
        cases: Number of cases.
        size: Voxels of a case along each axis.
        tolerance: Maximum difference, absolute or relative to the score: the convolutions of a device add up float32
            products in another order.
    """

    seconds: float
    scoring: Scoring
    cases: int
    size: int
    tolerance: float

    def run(self, device: str, recorder: Recorder) -> None:
        """Pass the cases through the network on both, and compare metric by metric."""
        recorder.plan(self.scoring.metrics)
        with tempfile.TemporaryDirectory() as folder:
            here, there = (self._statistics(place, Path(folder) / place) for place in ("cpu", device))
            for name, metric in self.scoring.metrics.items():
                with failures_recorded(name, recorder):
                    recorder.add(self._compared(name, metric.compute(there), metric.compute(here)))

    def _statistics(self, device: str, folder: Path) -> Statistics:
        folder.mkdir(exist_ok=True)
        generated = phantom_cases(self.cases, size=self.size, classes=self.scoring.classes)
        return self.scoring.statistics(self.scoring.build(device), generated, device, folder)

    def _compared(self, name: str, score: Score, expected: Score) -> PartResult:
        figures: Mapping[str, object] = {"device": score.value, "cpu": expected.value, "tolerance": self.tolerance}
        if math.isnan(score.value) and math.isnan(expected.value):
            return PartResult(name, "skipped", f"undefined on both: {expected.reason}", figures)
        if math.isclose(score.value, expected.value, rel_tol=self.tolerance, abs_tol=self.tolerance):
            return PartResult(name, "passed", "", figures)
        return PartResult(name, "failed", f"got {score.value:.8g}, {expected.value:.8g} on the CPU", figures)
