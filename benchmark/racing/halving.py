"""Successive halving with intervals: which candidates of a race continue after each rung.

All candidates are fine-tuned for an eighth of the steps and measured on the validation cases. The better half
continues from its state to the next rung, at a quarter, then a half, then all of the steps (Jamieson and Talwalkar,
Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016). Every training has the schedule
of the full length, so a candidate that survives is trained as if there had been no race.

Halving alone drops candidates that the validation cases cannot tell apart from those that it keeps. Let d_j be what
case j contributes to the mean Dice of the best candidate (`case_contributions`) minus the same of another one. The
candidate's drop is *clear* if the interval of the mean of d_j lies above the gap of the last candidate that is kept.
Otherwise it continues as long as the budget allows, the smallest gap first, and else its drop is *forced by budget*.
With fewer than `FEWEST_CASES` cases there is no interval, and every drop is *forced (no interval)*. If all candidates
of a rung fail, those that were dropped before come back, one by one, until one of them reaches the rung.
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
    """Why a candidate does not continue."""

    CLEAR = "clear"
    FORCED = "forced by budget"
    NO_INTERVAL = "forced (no interval)"
    FAILED = "failed"


SOUND_DROPS = (Drop.CLEAR, Drop.FORCED, Drop.NO_INTERVAL)  # of candidates that did not fail


@dataclass(frozen=True)
class Standing:
    """How a candidate stands at a rung.

    Attributes:
        name: The candidate.
        dice: Mean validation Dice, as of `benchmark.training.dice.mean_dice`; NaN if it failed.
        gap: How far it is behind the best candidate of the rung, in Dice; NaN if it failed.
        low: Lower end of the interval of the gap; -inf without an interval.
        high: Upper end; inf without an interval.
        drop: Why it does not continue; None if it does, or if it has reached the last rung.
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
        dice: Candidate -> (m,) what each validation case contributes to the mean Dice, see `case_contributions`; NaN
            for a case without foreground.
        failed: Candidate -> why it has no Dice.
    """

    dice: Mapping[str, Array]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def any_sound(self) -> bool:
        """Whether a candidate has a Dice on any case."""
        return any(np.isfinite(values).any() for values in self.dice.values())


@dataclass
class Race:
    """A race between candidates; `run` decides rung by rung, so what is decided stays known after an interruption.

    Attributes:
        candidates: Their names.
        rungs: Rung -> its step, ascending; the last one is the full length.
        budget: Maximum share of the steps of fine-tuning all candidates; extra candidates stay only while the whole
            race fits into it. Plain halving may exceed it.
        eta: Of n candidates, ceil(n / eta) continue.
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

    @property
    def last_standings(self) -> dict[str, Standing]:
        """Candidate -> its last standing; those of the latest rung first, and in the order of the rung."""
        last: dict[str, Standing] = {}
        for decision in reversed(self.decisions):
            for standing in decision.standings:
                last.setdefault(standing.name, standing)
        return last

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
            for name in self._reserve(alive):  # until one of them can be trained, if every survivor failed
                if measured.any_sound:
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

    def _reserve(self, alive: Sequence[str]) -> list[str]:
        """Sound candidates that were dropped: forced drops before clear ones; within each, the latest rung first."""
        last = self.last_standings
        sound = [name for name, standing in last.items() if standing.drop in SOUND_DROPS and name not in alive]
        return sorted(sound, key=lambda name: last[name].drop is Drop.CLEAR)

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
            elif not math.isfinite(standing.low):
                decided.append(_drop(standing, Drop.NO_INTERVAL))
            elif self._affordable(kept + 1, place, spent):
                decided.append(standing)
                kept += 1
            else:
                decided.append(_drop(standing, Drop.FORCED))
        return decided + failed

    def _affordable(self, count: int, place: int, spent: int) -> bool:
        """Whether `count` candidates may continue after a rung, if later rungs only halve them."""
        return spent + self.remaining(count, place) <= self.budget * self.total

    def remaining(self, count: int, place: int = -1) -> int:
        """Steps from a rung on, given by its place, if `count` continue and later rungs only halve them.

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


def case_contributions(values: Array) -> Array:
    """What each case contributes to the mean over classes of the mean over cases (`benchmark.training.dice.mean_dice`).

    With m cases that have a class, K classes that occur, n_c cases with class c, and x_jc the mean over the seeds:

        z_j = (m / K) * sum over the classes c of case j of x_jc / n_c,    mean_j z_j = mean_c mean_j x_jc

    A case enters a mean of class means through each of its classes, with the weight 1 / (K n_c); z_j is the sum of what
    it enters with, scaled so that the mean over cases is that mean. If every case has every class, z_j is the mean of
    x_jc over the classes.

    Args:
        values: (s, m, k - 1) float64 Dice of each seed, case and foreground class; NaN for a class that is absent from
            a case.

    Returns:
        (m,) float64; NaN for a case without any class.

    Example:
        >>> case_contributions(np.array([[[0.5, 1.0], [0.25, np.nan]]])).tolist()  # by hand: ((0.5 + 0.25) / 2 + 1) / 2
        [1.25, 0.125]
    """
    known = np.isfinite(values)
    seeds = known.sum(axis=0)  # (m, k - 1)
    dice = np.where(known, values, 0.0).sum(axis=0) / np.maximum(seeds, 1)
    present = seeds > 0
    scored = present.any(axis=1)
    share = scored.sum() / max(int(present.any(axis=0).sum()), 1)
    contributions: Array = share * (dice / np.maximum(present.sum(axis=0), 1)).sum(axis=1)
    return np.where(scored, contributions, np.nan)


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
