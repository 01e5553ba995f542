"""A race as tables for the terminal and the page, as CSV and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd

from analysis.agreement.rank_measures import kendall, why_undefined
from analysis.racing.outcome import CAUTION, RaceOutcome, rung_rows
from analysis.ranking.order import STANDING
from analysis.tables.number_format import UNDEFINED, counted, duration, number, percent, significant, strict_json
from analysis.tables.tables import Column, Row, Table, table_of

dice = partial(number, digits=3)
AFTER = {"eighth": "1/8", "quarter": "1/4", "half": "1/2", "full": "all"}  # rung -> its share of the steps


def race_tables(outcome: RaceOutcome) -> tuple[Table, ...]:
    """The tables of the course of the race, of what the estimates had said, and of the cost, in reading order."""
    ranked = (estimates_table(outcome),) if len(outcome.estimates) else ()
    return course_table(outcome), *ranked, cost_table(outcome)


def course_table(outcome: RaceOutcome) -> Table:
    """The candidates, the winner first, with their validation Dice at each rung and why they were dropped."""
    rows = rung_rows(outcome)
    ranked = outcome.estimates.set_index("source") if len(outcome.estimates) else pd.DataFrame()
    for row in rows:
        row["ranked"] = ranked["place"].get(row["source"], np.nan) if len(ranked) else np.nan
    columns = [
        Column("place", "place", str),
        Column("source", "source"),
        *(Column(f"{rung} ({step})", f"dice/{rung}", dice) for rung, step in outcome.race.rungs.items()),
        Column("behind the best", _gap, note=GAP_NOTE),
        Column("dropped", _dropped),
        *([Column("place in the ranking", "ranked", _place)] if len(ranked) else []),
    ]
    cases = f"{counted(outcome.train_cases, 'training case')}, {counted(outcome.validation_cases, 'validation case')}"
    failed = [f"{row['source']}: {row['reason']}" for row in rows if row["reason"]]
    notes = [outcome.verdict(), *failed, *outcome.notes, *([CAUTION] if outcome.race.leader else [])]
    return table_of(
        f"{outcome.task}: race of {counted(len(outcome.race.candidates), 'candidate')}, {cases}", columns, [rows], notes
    )


GAP_NOTE = (
    "Figures below a rung are the mean Dice of the validation cases after so many steps; behind the best: how much "
    "lower it was at the candidate's last rung, with the interval over validation cases."
)


def _gap(row: Row) -> str:
    low, high = float(row["gap_low"]), float(row["gap_high"])
    interval = f" [{dice(low)}, {dice(high)}]" if np.isfinite([low, high]).all() and high > 0 else ""
    return dice(float(row["gap"])) + interval


def _place(value: float) -> str:
    return UNDEFINED if pd.isna(value) else f"{int(value)}"


def _dropped(row: Row) -> str:
    return f"{row['drop']}, at {row['dropped']}" if row["drop"] else ""


def estimates_table(outcome: RaceOutcome) -> Table:
    """The ranking's scores of the candidates, next to their validation Dice at the first rung.

    The Dice is NaN for a candidate that failed.
    """
    scores = outcome.estimates
    ends = ("_low", "_high", "_first")
    names = [str(name) for name in scores.columns if name not in {"source", "place"} and not str(name).endswith(ends)]
    first = next(iter(outcome.race.rungs))
    found = {str(row["source"]): row[f"dice/{first}"] for row in rung_rows(outcome)}
    known = scores.assign(dice=scores["source"].map(found).astype(float))
    agreement = [
        f"{name} {number(kendall(both[name].to_numpy(), both['dice'].to_numpy()))}"
        for name in names
        for both in [known[[name, "dice"]].astype(float).dropna()]
        if not why_undefined(both[name].to_numpy(), both["dice"].to_numpy())
    ]
    after = f"validation Dice after {AFTER[first]} of the steps"
    note = f"Kendall's tau-b between score and {after}: {', '.join(agreement) or 'undefined'}."
    columns = [
        Column("place in the ranking", "place", _place),
        Column("source", "source"),
        *(Column(name, name, significant) for name in names),
        Column(after, "dice", dice),
    ]
    return table_of("what the estimates had said", columns, [known], [note])


def cost_table(outcome: RaceOutcome) -> Table:
    """Steps and time of the race, next to those of fine-tuning all candidates."""
    rows = [
        {"what": "the race", "steps": outcome.steps, "share": outcome.share, "seconds": outcome.seconds()},
        {"what": "fine-tuning all", "steps": outcome.steps_of_all, "share": 1.0, "seconds": outcome.seconds_of_all()},
    ] if len(outcome.points) else []  # fmt: skip
    columns = [
        Column("", "what"),
        Column("steps", "steps", str),
        Column("share", "share", percent),
        Column("training and validation", "seconds", duration),
    ]
    note = "Seconds of all jobs together, measured; those of fine-tuning all at each candidate's own speed."
    return table_of("cost", columns, [rows], [note])


def race_csv(outcome: RaceOutcome) -> str:
    """One row per candidate, the winner first, with the ranking's scores."""
    table = pd.DataFrame(rung_rows(outcome))
    if len(outcome.estimates) and len(table):
        ranked = outcome.estimates.rename(columns={"place": "place_in_ranking", STANDING: "standing_in_ranking"})
        table = table.merge(ranked, on="source", how="left")
    return table.to_csv(index=False)


def race_json(outcome: RaceOutcome, facts: Mapping[str, object]) -> str:
    """The race as strict JSON, with null for undefined values; steps and `spent` are those of all seeds."""
    content = {
        "task": outcome.task,
        "winner": None if outcome.stopped else outcome.race.leader,
        "leader": outcome.race.leader,
        "verdict": outcome.verdict(),
        "stopped": outcome.stopped,
        "checkpoint": outcome.checkpoint,
        "rungs": dict(outcome.race.rungs),
        "seeds": list(outcome.seeds),
        "budget": outcome.race.budget,
        "cases": {"training": outcome.train_cases, "validation": outcome.validation_cases},
        "steps": {"race": outcome.steps, "fine_tuning_all": outcome.steps_of_all, "share": outcome.share},
        "seconds": {"race": outcome.seconds(), "fine_tuning_all": outcome.seconds_of_all()}
        if len(outcome.points)
        else {},
        "candidates": rung_rows(outcome),
        "decisions": [
            asdict(decision) | {"spent": decision.spent * len(outcome.seeds)} for decision in outcome.race.decisions
        ],
        "points": outcome.points.to_dict("records"),
        "estimates": outcome.estimates.to_dict("records"),
        "notes": list(outcome.notes),
        **facts,
    }
    return json.dumps(strict_json(content), indent=1, allow_nan=False)
