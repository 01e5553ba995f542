"""Successive halving with intervals: which candidates of a race are trained on after each rung.

All candidates are fine-tuned for an eighth of the steps and measured on the validation cases. The better half is
trained on from its state to the next rung, at a quarter, then a half, then all of the steps (Jamieson and Talwalkar,
Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016). Every training has the schedule
of the full length, so a candidate that survives is trained as if there had been no race.

Halving alone drops candidates that the validation cases cannot tell apart from those that it keeps. Let d_j be the Dice
of the best candidate minus that of another one on validation case j. The candidate is dropped *clearly* if the interval
of the mean of d_j lies above the gap of the last candidate that is kept. Otherwise it goes on as long as the budget
allows, the smallest gap first; a candidate that the budget does not allow is dropped by *force*. With fewer than
`FEWEST_CASES` validation cases no interval is computed, and every drop is forced. If all candidates of a rung fail,
those that were dropped before come back, one by one, until one of them reaches the rung.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.stats import sem, t

Array = NDArray[np.float64]

LEVEL = 0.95
FEWEST_CASES = 5  # validation cases that an interval needs


class Drop(StrEnum):
    """Why a candidate is not trained on."""

    CLEAR = "clear"
    FORCED = "forced by budget"
    FAILED = "failed"


KINDS = (Drop.FORCED, Drop.CLEAR)


@dataclass(frozen=True)
class Standing:
    """How a candidate stands at a rung.

    Attributes:
        name: The candidate.
        dice: Mean Dice over the validation cases; NaN if it failed.
        gap: How far it is behind the best candidate of the rung, in Dice; NaN if it failed.
        low: Lower end of the interval of the gap; -inf without an interval.
        high: Upper end; inf without an interval.
        drop: Why it is not trained on; None if it is, or if it has reached the last rung.
        reason: Why it failed, or an empty text.
    """

    name: str
    dice: float
    gap: float
    low: float
    high: float
    drop: Drop | None = None
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """What was decided after a rung.

    Attributes:
        rung: Its name.
        step: The step at which the candidates were measured.
        standings: All candidates that were to reach the rung, best first, failed ones last.
        spent: Steps of all candidates so far.
    """

    rung: str
    step: int
    standings: Sequence[Standing]
    spent: int

    @property
    def survivors(self) -> list[str]:
        """The candidates that are not dropped, best first."""
        return [standing.name for standing in self.standings if standing.drop is None]


@dataclass(frozen=True)
class Measured:
    """What the candidates of a rung reached.

    Attributes:
        dice: Candidate -> (m,) Dice of each validation case, mean over classes and seeds; NaN for a case without
            foreground.
        failed: Candidate -> why it has no Dice.
    """

    dice: Mapping[str, Array]
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Race:
    """A race between candidates; `run` decides rung by rung, so what is decided stays known after an interruption.

    Attributes:
        candidates: Their names.
        rungs: Rung -> its step, ascending; the last one is the full length.
        budget: Largest share of the steps of fine-tuning all candidates that may be spent on candidates that halving
            alone would drop.
        eta: Of n candidates, ceil(n / eta) go on.
        decisions: One per finished rung.
    """

    candidates: Sequence[str]
    rungs: Mapping[str, int]
    budget: float
    eta: int = 2
    decisions: list[Decision] = field(default_factory=list, init=False)

    @property
    def total(self) -> int:
        """Steps of fine-tuning all candidates."""
        return len(self.candidates) * max(self.rungs.values())

    @property
    def spent(self) -> int:
        """Steps of the finished rungs."""
        return self.decisions[-1].spent if self.decisions else 0

    @property
    def leader(self) -> str | None:
        """The best candidate of the last finished rung; None before the first, or if all failed."""
        best = self.decisions[-1].standings[0] if self.decisions else None
        return best.name if best is not None and best.drop is not Drop.FAILED else None

    def run(self, measure: Callable[[str, Sequence[str]], Measured]) -> str | None:
        """Run the race to its end.

        Args:
            measure: Trains candidates up to a rung and measures them; called with the rung and their names.

        Returns:
            The winner; None if every candidate failed.
        """
        alive, before = list(self.candidates), 0
        for place, (rung, step) in enumerate(self.rungs.items()):
            measured, spent = measure(rung, alive), self.spent + len(alive) * (step - before)
            for name in self._reserve():  # until one of them can be trained, if every survivor failed
                if measured.dice:
                    break
                alive = [*alive, name]
                measured, spent = measure(rung, alive), spent + step
            standings = standings_of(measured)
            if place < len(self.rungs) - 1:
                standings = self._dropped(standings, place, spent)
            self.decisions.append(Decision(rung, step, standings, spent))
            alive, before = self.decisions[-1].survivors, step
            if not alive:
                return None
        return self.leader

    def _reserve(self) -> list[str]:
        """Candidates that were dropped but did not fail: those of the last rung first, by force before clearly."""
        dropped = [s for decision in reversed(self.decisions) for s in decision.standings if s.drop in KINDS]
        return list(dict.fromkeys(s.name for kind in KINDS for s in dropped if s.drop is kind))

    def _dropped(self, standings: Sequence[Standing], place: int, spent: int) -> list[Standing]:
        """The standings after a rung, with those that are dropped marked."""
        running = [standing for standing in standings if standing.drop is None]
        failed = [standing for standing in standings if standing.drop is not None]
        kept = math.ceil(len(running) / self.eta)
        if not running:
            return failed
        cut = running[kept - 1].gap
        decided = running[:kept]
        for standing in running[kept:]:  # by their gaps, the smallest first
            if standing.low > cut:
                decided.append(_drop(standing, Drop.CLEAR))
            elif math.isfinite(standing.low) and self._affordable(kept + 1, place, spent):
                decided.append(standing)
                kept += 1
            else:
                decided.append(_drop(standing, Drop.FORCED))
        return decided + failed

    def _affordable(self, count: int, place: int, spent: int) -> bool:
        """Whether `count` candidates may go on after a rung, if later rungs only halve them."""
        return spent + self.remaining(count, place) <= self.budget * self.total

    def remaining(self, count: int, place: int = -1) -> int:
        """Steps from a rung on, given by its place, if `count` candidates go on and later rungs only halve them.

        Example:
            >>> race = Race(list("abcdefghij"), {"eighth": 1, "quarter": 2, "half": 4, "full": 8}, budget=0.45)
            >>> race.remaining(10), race.total  # 10 + 5 + 2 * 3 + 4 * 2 of 80
            (29, 80)
        """
        ends = [0, *self.rungs.values()]
        steps = 0
        for begin, end in zip(ends[place + 1 :], ends[place + 2 :], strict=False):
            steps += count * (end - begin)
            count = math.ceil(count / self.eta)
        return steps


def standings_of(measured: Measured) -> list[Standing]:
    """The candidates, best first, with the gap to the best and its interval; failed ones come last.

    Args:
        measured: What they reached. A candidate whose Dice is NaN on every case counts as failed.

    Example:
        >>> dice = {"a": np.array([0.8, 0.8, 0.6, 0.7, 0.9]), "b": np.array([0.7, 0.8, 0.5, 0.6, 0.7])}
        >>> [(s.name, round(s.gap, 3), round(s.low, 3)) for s in standings_of(Measured(dice))]
        [('a', 0.0, 0.0), ('b', 0.1, 0.012)]
    """
    means = {name: _mean(values) for name, values in measured.dice.items()}
    order = sorted((name for name in means if math.isfinite(means[name])), key=lambda name: -means[name])
    failed = dict(measured.failed) | {
        name: "no validation case has a Dice" for name, mean in means.items() if not math.isfinite(mean)
    }
    nan = math.nan
    return [
        Standing(name, means[name], means[order[0]] - means[name], *gap_interval(measured.dice, order[0], name))
        for name in order
    ] + [Standing(name, nan, nan, nan, nan, Drop.FAILED, reason) for name, reason in failed.items()]


def gap_interval(dice: Mapping[str, Array], best: str, name: str) -> tuple[float, float]:
    """Interval of Student's t for the mean difference to the best candidate over the cases that both have.

    Returns:
        The ends of the interval; -inf and inf with fewer than `FEWEST_CASES` cases.
    """
    if best == name:
        return 0.0, 0.0
    differences = dice[best] - dice[name]
    differences = differences[np.isfinite(differences)]
    if len(differences) < FEWEST_CASES:
        return -math.inf, math.inf
    return student_interval(differences)


def student_interval(values: Array) -> tuple[float, float]:
    """Student's t interval, of `LEVEL`, for the mean of (n,) values, n at least 2; without width if all are equal.

    Example:
        >>> student_interval(np.array([1.0, 1.0, 1.0]))
        (1.0, 1.0)
    """
    mean, half = float(values.mean()), float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * sem(values))
    return mean - half, mean + half


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _drop(standing: Standing, drop: Drop) -> Standing:
    return Standing(standing.name, standing.dice, standing.gap, standing.low, standing.high, drop)
