"""The course of a race: decisions, curves, cost, and what the estimates had said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.tables.number_format import counted, number, percent
from benchmark.racing.halving import FEWEST_CASES, Drop, Race

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
        race: The race with its decisions; its steps are those of one seed.
        seeds: Seeds of each candidate's training.
        train_cases: Number of training cases.
        validation_cases: Number of validation cases.
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
    losses: pd.DataFrame
    points: pd.DataFrame
    estimates: pd.DataFrame
    notes: Sequence[str] = field(default_factory=tuple)
    checkpoint: str = ""
    stopped: str = ""

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
        drops = [standing.drop for decision in self.race.decisions for standing in decision.standings]
        kinds = [
            f"{counted(drops.count(kind), 'candidate')} {word}"
            for kind, word in (
                (Drop.CLEAR, "dropped clearly"),
                (Drop.FORCED, "dropped by force"),
                (Drop.FAILED, "failed"),
            )
            if kind in drops
        ]
        text = f"{best.name} {role} with a validation Dice of {number(best.dice, digits=3)}"
        if self.stopped:
            text += f" after {self.race.decisions[-1].step} of {max(self.race.rungs.values())} steps ({self.stopped})"
        text += f"; {', '.join(kinds)}" if kinds else ""
        steps = self.race.spent * len(self.seeds)
        cost = f"The race took {steps} steps, {percent(self.share)} of fine-tuning all {len(self.race.candidates)}."
        return f"{text}. {cost} {self._separation()}".strip()

    def _separation(self) -> str:
        """Whether the leader is separated from those that reached the last finished rung with it."""
        others = [s for s in self.race.decisions[-1].standings[1:] if s.drop is not Drop.FAILED]
        near = [s.name for s in others if not s.low > 0]
        if self.validation_cases < FEWEST_CASES:
            return (
                f"With {counted(self.validation_cases, 'validation case')} no interval can be computed: every drop was "
                f"forced, and at least {FEWEST_CASES} would be needed."
            )
        if near:
            return f"At the end the validation cases do not separate it from {', '.join(near)}."
        return ""


def rung_rows(outcome: RaceOutcome) -> list[dict[str, object]]:
    """One row per candidate, in the final order, with its Dice at each rung and how it ended.

    Returns:
        Rows with source, place, `dice/RUNG` for each rung (NaN where it was not measured), dropped (the rung), drop,
        reason, gap, gap_low, gap_high, steps, and seconds of training without validation.
    """
    place: dict[str, tuple[float, ...]] = {}
    rows: dict[str, dict[str, object]] = {}
    for order, decision in enumerate(outcome.race.decisions):
        for standing in decision.standings:
            row = rows.setdefault(standing.name, {f"dice/{rung}": math.nan for rung in outcome.race.rungs})
            row |= {f"dice/{decision.rung}": standing.dice, "gap": standing.gap, "gap_low": standing.low,
                    "gap_high": standing.high, "reason": standing.reason,
                    "drop": "" if standing.drop is None else str(standing.drop),
                    "dropped": "" if standing.drop is None else decision.rung}  # fmt: skip
            place[standing.name] = (order, standing.dice if math.isfinite(standing.dice) else -1.0)
    known = outcome.timed.groupby("candidate")[["step", "training"]].max() if len(outcome.points) else pd.DataFrame()
    order_of = sorted(rows, key=lambda name: place[name], reverse=True)
    return [
        {"place": at, "source": name, **rows[name],
         "steps": int(known["step"].get(name, 0)) if len(known) else 0,
         "seconds": float(known["training"].get(name, math.nan)) if len(known) else math.nan}
        for at, name in enumerate(order_of, 1)
    ]  # fmt: skip
