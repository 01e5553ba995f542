"""Remaining time of a bench, from the planned work of its stages and the speed that its jobs have reported."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

TELLING = 0.1  # share of a stage's work from which its own speed is used


@dataclass
class StageWork:
    """A stage's planned work and the time that it has taken so far.

    Attributes:
        work: Key of each unfinished run -> its planned work, in seconds of one core.
        began: When the stage began, in seconds; None before that.
        ended: When it ended; None before that.
    """

    work: dict[str, float] = field(default_factory=dict)
    began: float | None = None
    ended: float | None = None

    def total(self) -> float:
        """Planned work, in seconds of one core."""
        return sum(self.work.values())

    def done(self, shares: Mapping[str, float]) -> float:
        """Finished work, in seconds of one core: that of finished runs, and the reported share of runs in progress."""
        return sum(work * shares.get(key, 0.0) for key, work in self.work.items())

    def elapsed(self, now: float) -> float:
        """Seconds since the stage began."""
        return 0.0 if self.began is None else (now if self.ended is None else self.ended) - self.began


@dataclass
class RemainingTime:
    """Estimates the remaining time of a bench whose stages run one after another.

    A stage's speed is its finished work over the seconds that it took. It counts from a tenth of the stage's work on;
    until then, and for later stages, the speed is that of all stages so far that tell one.

    Attributes:
        stages: Stage -> its work, in the order in which they run.
        planned: Whether all stages have their work; without that, nothing is estimated.
        parallel: Largest number of runs seen in progress at once; a stage with fewer runs cannot use all workers.
    """

    stages: dict[str, StageWork] = field(default_factory=dict)
    planned: bool = True
    parallel: int = 1

    def expect(self, stage: str, work: Mapping[str, float]) -> None:
        """Add unfinished runs, with their work in seconds of one core, to a stage."""
        self.stages.setdefault(stage, StageWork()).work |= work

    def begin(self, stage: str, now: float) -> None:
        """Note that a stage begins now, in seconds."""
        self.stages.setdefault(stage, StageWork()).began = now

    def end(self, stage: str, now: float) -> None:
        """Note that a stage ends now, in seconds."""
        self.stages[stage].ended = now

    def seconds(self, shares: Mapping[str, float], now: float) -> float:
        """Estimate the remaining seconds; NaN while no stage tells the speed, or later stages are not planned yet.

        Args:
            shares: Key -> share of the run's steps that are done, 1 for a finished run.
            now: The present time, in seconds.
        """
        telling = [stage for stage in self.stages.values() if self._tells(stage, shares)]
        took = sum(stage.elapsed(now) for stage in telling)
        if took <= 0.0 or not self.planned:
            return math.nan
        speed = sum(stage.done(shares) for stage in telling) / took
        ahead = [stage for stage in self.stages.values() if stage.ended is None and stage.work]
        return sum(self._left(stage, speed, shares, now) for stage in ahead)

    def _tells(self, stage: StageWork, shares: Mapping[str, float]) -> bool:
        return stage.began is not None and stage.done(shares) >= TELLING * stage.total() > 0.0

    def _left(self, stage: StageWork, speed: float, shares: Mapping[str, float], now: float) -> float:
        done = stage.done(shares)
        if self._tells(stage, shares):
            speed = done / max(stage.elapsed(now), 1e-9)
        else:
            speed *= min(1.0, len(stage.work) / self.parallel)
        return (stage.total() - done) / speed


def readable(seconds: float) -> str:
    """Describe a remaining time.

    Args:
        seconds: The estimate; NaN if there is none yet.
    """
    if math.isnan(seconds):
        return "estimating the remaining time"
    return f"about {int(seconds // 60)} min {int(seconds % 60):02d} s left"
