"""The course of a race: decisions, curves, cost, and what the estimates had said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.tables.number_format import counted, number, percent
from benchmark.racing.halving import FEWEST_CASES, SOUND_DROPS, Drop, Race

CAUTION = (
    "The winner was chosen by these validation cases, so its Dice on them is too high; measure the winner on test "
    "cases that nothing was chosen by."
)


LOSSES = ("candidate", "seed", "step", "loss")
POINTS = ("candidate", "seed", "rung", "step", "seconds", "validation_seconds", "dice")


@dataclass(frozen=True)
class RaceOutcome:
    """What a race decided, finished or not.

    Attributes:
        task: The task's name.
        race: The race with its decisions; its own numbers of steps are those of one seed.
        seeds: Seeds of each candidate's training.
        train_cases: Number of training cases.
        validation_cases: Number of validation cases.
        scored_cases: Number of those in which a Dice is defined: with foreground.
        losses: One row per candidate, seed and step, with the columns `LOSSES`.
        points: One row per candidate, seed and rung, with the columns `POINTS`.
        estimates: One row per candidate that was ranked: source, place, and the standing and metrics of the ranking.
        notes: What else a reader must know, one line each.
        checkpoint: Folder of the leader's checkpoint; empty without one.
        stopped: Why the race ended early; empty if it is finished.
    """

    task: str
    race: Race
    seeds: Sequence[int]
    train_cases: int
    validation_cases: int
    scored_cases: int
    losses: pd.DataFrame
    points: pd.DataFrame
    estimates: pd.DataFrame
    notes: Sequence[str] = field(default_factory=tuple)
    checkpoint: str = ""
    stopped: str = ""

    @property
    def steps(self) -> int:
        """Steps spent, of all seeds."""
        return self.race.spent * len(self.seeds)

    @property
    def steps_of_all(self) -> int:
        """Steps of fine-tuning all candidates with all seeds."""
        return self.race.total * len(self.seeds)

    @property
    def share(self) -> float:
        """Steps spent, as a share of fine-tuning all candidates."""
        return self.race.spent / self.race.total

    def seconds(self) -> float:
        """Measured seconds of training and validation of all jobs."""
        rows = self.timed.groupby(["candidate", "seed"])
        return float(rows["training"].max().sum() + rows["validation_seconds"].sum().sum())

    def seconds_of_all(self) -> float:
        """Seconds of fine-tuning all candidates and one validation of each, at each candidate's own speed."""
        rows = self.timed.sort_values("step").groupby(["candidate", "seed"])
        last = rows.last()
        training = (last["training"] / last["step"]).sum() * max(self.race.rungs.values())
        return float(training + rows["validation_seconds"].mean().sum())

    @property
    def timed(self) -> pd.DataFrame:
        """The points, with the seconds of training without validation in the column `training`."""
        return self.points.assign(training=self.points["seconds"] - self.points["validation_seconds"])

    def verdict(self) -> str:
        """The result in one sentence or two."""
        if self.race.leader is None:
            ended = f" ({self.stopped})" if self.stopped else ""
            return f"No rung was finished{ended}." if not self.race.decisions else "No candidate could be fine-tuned."
        best = self.race.decisions[-1].standings[0]
        role = "leads" if self.stopped else "wins"
        text = f"{best.name} {role} with a validation Dice of {number(best.dice, digits=3)}"
        if self.stopped:
            text += f" after {self.race.decisions[-1].step} of {max(self.race.rungs.values())} steps ({self.stopped})"
        text += "".join(f"; {part}" for part in self._dropped())
        if len(self.race.candidates) == 1:
            return f"{text}."
        count = counted(len(self.race.candidates), "candidate")
        cost = f"The race took {self.steps} steps, {percent(self.share)} of fine-tuning all {count}."
        return f"{text}. {cost} {self._separation()}".strip()

    def _dropped(self) -> list[str]:
        """How many candidates were dropped, by the kind of drop, and how many failed."""
        drops = [standing.drop for standing in self.race.last_standings.values()]
        kinds = [f"{drops.count(kind)} {kind}" for kind in SOUND_DROPS if kind in drops]
        failed = counted(drops.count(Drop.FAILED), "candidate")
        return [
            *([f"dropped: {', '.join(kinds)}"] if kinds else []),
            *([f"{failed} failed"] if Drop.FAILED in drops else []),
        ]

    def _separation(self) -> str:
        """Whether the leader is separated from those that reached the last finished rung with it."""
        others = [s for s in self.race.decisions[-1].standings[1:] if s.drop is not Drop.FAILED]
        near = [s.name for s in others if not s.low > 0]
        if self.scored_cases < FEWEST_CASES:
            cases = counted(self.scored_cases, "validation case")
            return (
                f"With {cases} that have foreground no interval can be computed, so every drop was forced; at least "
                f"{FEWEST_CASES} are needed."
            )
        if near:
            return f"At the end the validation cases do not separate it from {', '.join(near)}."
        return ""


def rung_rows(outcome: RaceOutcome) -> list[dict[str, object]]:
    """One row per candidate, in the final order, with its Dice at each rung and how it ended.

    Candidates that failed come last; the others are ordered by their last rung, and within it by their Dice.

    Returns:
        Rows with source, place, `dice/RUNG` for each rung (NaN where it was not measured), dropped (the rung), drop,
        reason, gap, gap_low, gap_high, and, summed over the seeds, steps and seconds of training without validation.
    """
    place: dict[str, tuple[bool, int, float]] = {}
    rows: dict[str, dict[str, object]] = {}
    for order, decision in enumerate(outcome.race.decisions):
        for standing in decision.standings:
            row = rows.setdefault(standing.name, {f"dice/{rung}": math.nan for rung in outcome.race.rungs})
            row |= {f"dice/{decision.rung}": standing.dice, "gap": standing.gap, "gap_low": standing.low,
                    "gap_high": standing.high, "reason": standing.reason,
                    "drop": "" if standing.drop is None else str(standing.drop),
                    "dropped": "" if standing.drop is None else decision.rung}  # fmt: skip
            sound = standing.drop is not Drop.FAILED
            place[standing.name] = (sound, order, standing.dice if sound else 0.0)
    known = pd.DataFrame()
    if len(outcome.points):
        by_seed = outcome.timed.groupby(["candidate", "seed"])[["step", "training"]].max()
        known = by_seed.groupby("candidate").sum()
    order_of = sorted(rows, key=lambda name: place[name], reverse=True)
    return [
        {"place": at, "source": name, **rows[name],
         "steps": int(known["step"].get(name, 0)) if len(known) else 0,
         "seconds": float(known["training"].get(name, math.nan)) if len(known) else math.nan}
        for at, name in enumerate(order_of, 1)
    ]  # fmt: skip
