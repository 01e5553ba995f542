"""How long a ranking will take, with how much memory and disk, and what of it fits into some minutes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.data.prepared.preparing import SMALL
from benchmark.ranking.case_choice import CaseChoice

if TYPE_CHECKING:
    from benchmark.ranking.expected_size import ExpectedCase
    from benchmark.ranking.window_timing import WindowTiming

FEWEST = 2  # cases that minutes leave, where the task has them: CC-FV compares cases
# Forward passes that the two training steps take by which the cost of fine-tuning is measured: a backward pass takes
# about twice as long as a forward pass
STEPS = 6
# Share of a further process's time that preparing cases gains: they wait for one disk and one memory
SPEEDUP = 0.6
HALF = 2  # bytes of a stored value of the softmax


@dataclass(frozen=True)
class ResampleNumbers:
    """Resamples that are computed: for metrics of sampled points, and for others."""

    points: int
    others: int


@dataclass(frozen=True)
class ExpectedPreparation:
    """A case that must be prepared, by `key`, and its bytes before compression."""

    key: str
    nbytes: int


@dataclass(frozen=True)
class SourceForecast:
    """What a source is expected to cost.

    Attributes:
        timing: Measured on one window.
        opening: Seconds to open it.
        passes: Forward passes over each case.
        stored: Source classes whose softmax is stored.
        cases: Windows -> case -> its expected size.
        finished: Windows -> the cases whose statistics from the first pass are on disk.
        unprepared: Case -> its preparation, of those that are not prepared yet.
        preparing: Seconds to prepare a byte, for this source; None if that was not measured.
        stores: Whether prepared cases are stored, for all sources; otherwise each source prepares its own.
    """

    timing: "WindowTiming"
    opening: float
    passes: int
    stored: int
    cases: Mapping[str, Mapping[str, "ExpectedCase"]]
    finished: Mapping[str, frozenset[str]]
    unprepared: Mapping[str, ExpectedPreparation]
    preparing: float | None = None
    stores: bool = True

    def seconds(self, choice: CaseChoice, resamples: ResampleNumbers) -> float:
        """Expected seconds of the source for a choice, without preparing cases."""
        timing, m = self.timing, len(choice.chosen)
        cases = self.cases[choice.windows]
        # a second pass depends on all cases, so what one over other cases left on disk does not help
        forwarded = [*self.missing(choice), *(self.passes - 1) * choice.chosen]
        passes = sum(
            case.windows * timing.forward + case.owned * timing.voxel + case.voxels * timing.volume
            for case in map(cases.__getitem__, forwarded)
        )
        scores = timing.scores + timing.softmax * sum(cases[name].owned for name in choice.chosen)
        draws = m * (resamples.others * timing.draw + resamples.points * timing.point_draw)
        return self.opening + passes + scores + draws + STEPS * timing.forward

    def missing(self, choice: CaseChoice) -> list[str]:
        """The chosen cases that have to go through the network."""
        return [name for name in choice.chosen if name not in self.finished[choice.windows]]

    def softmax_bytes(self, choice: CaseChoice) -> int:
        """Bytes of the stored softmax of the cases that have to go through the network."""
        cases = self.cases[choice.windows]
        return HALF * self.stored * sum(cases[name].owned for name in self.missing(choice))


@dataclass(frozen=True)
class Forecast:
    """What the sources of a ranking are expected to cost.

    Attributes:
        sources: Those that have been timed, by name.
        kept: The number of sources whose scores are on disk.
        untimed: Source -> why it could not be timed; it is tried again in its turn.
        resamples: The numbers of resamples for m cases.
        keep_gib: Disk that the statistics of passes may take, GiB.
        processes: That prepare cases; None: one per core.
    """

    sources: Mapping[str, SourceForecast]
    kept: int
    untimed: Mapping[str, str]
    resamples: Callable[[int], ResampleNumbers] = field(repr=False)
    keep_gib: float
    processes: int | None = None

    def seconds(self, choice: CaseChoice) -> float:
        """Expected seconds of a choice."""
        resamples = self.resamples(len(choice.chosen))
        scoring = sum(source.seconds(choice, resamples) for source in self.sources.values())
        return scoring + self._preparing_seconds(choice)

    def prepared_bytes(self, choice: CaseChoice) -> int:
        """Bytes of the cases that have to be prepared, before compression."""
        return sum(self._preparations(choice).values())

    def kept_bytes(self, choice: CaseChoice) -> int:
        """Bytes of the stored softmax: of all sources up to the limit, and of the one that is being passed."""
        sizes = [source.softmax_bytes(choice) for source in self.sources.values()]
        return max(min(sum(sizes), int(self.keep_gib * 2**30)), max(sizes, default=0))

    @property
    def memory_mb(self) -> float:
        """The largest peak of a window that was timed."""
        return max((source.timing.peak_memory_mb for source in self.sources.values()), default=0.0)

    def entry(self, choice: CaseChoice) -> dict[str, object]:
        """The forecast as plain data."""
        return {
            "seconds": self.seconds(choice),
            "memory_mb": self.memory_mb,
            "prepared_bytes": self.prepared_bytes(choice),
            "statistics_bytes": self.kept_bytes(choice),
            "timed": list(self.sources),
            "kept": self.kept,
            "untimed": dict(self.untimed),
        }

    def _preparations(self, choice: CaseChoice) -> dict[str, int]:
        """Key -> bytes of each case that has to be prepared."""
        return {
            source.unprepared[name].key: source.unprepared[name].nbytes
            for source in self.sources.values()
            for name in source.missing(choice)
            if name in source.unprepared
        }

    def _preparing_seconds(self, choice: CaseChoice) -> float:
        known = [source.preparing for source in self.sources.values() if source.preparing is not None]
        if not known:
            return 0.0
        stored: dict[str, float] = {}
        each = 0.0
        for source in self.sources.values():
            rate = max(known) if source.preparing is None else source.preparing
            own = [source.unprepared[name] for name in source.missing(choice) if name in source.unprepared]
            if source.stores:
                stored |= {case.key: case.nbytes * rate for case in own}
            else:
                each += source.passes * sum(case.nbytes * rate for case in own)
        large = self.prepared_bytes(choice) >= SMALL
        workers = min(self.processes or len(os.sched_getaffinity(0)), len(stored)) if large else 1
        return each + sum(stored.values()) / (1 + SPEEDUP * max(workers - 1, 0))


def fitting_choice(forecast: Forecast, most: CaseChoice, *, seconds: float) -> CaseChoice:
    """The largest choice that is expected to take at most `seconds`: fewer windows first, then fewer cases.

    Args:
        forecast: What the sources are expected to cost.
        most: The largest choice.
        seconds: The time that is left.

    Returns:
        The choice; the smallest if none fits.
    """
    choices = smaller_choices(most)
    seconds = max(seconds, 0.0)  # scores that are all on disk take none
    return next((choice for choice in choices if forecast.seconds(choice) <= seconds), choices[-1])


def smaller_choices(most: CaseChoice) -> Sequence[CaseChoice]:
    """A choice and all smaller ones, the largest first, down to two cases."""
    every = len(most.chosen)
    numbers = range(every, min(FEWEST, every) - 1, -1)
    whole = [most] if most.windows == "all" else []
    return [*whole, *(most.smaller(windows="foreground", number=number) for number in numbers)]
