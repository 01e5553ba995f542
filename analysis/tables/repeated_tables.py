"""The tables of repeated pre-training: how much its seed decides."""

import math
from functools import partial

import pandas as pd

from analysis.evaluation.kinds import CONTROL, METRIC, shown_name
from analysis.evaluation.repeated import DICE, STUDY, RepeatedPretraining
from analysis.evaluation.study import Study
from analysis.tables.number_format import counted, number, percent
from analysis.tables.tables import Column, Table, table_of

THREE_DIGITS = partial(number, digits=3)
PRIMARY = "weighted_kendall"


def repeated_tables(study: Study) -> tuple[Table, ...]:
    """The own Dice of repeated sources, and what their repeats change; only the reasons if no repeat is complete."""
    repeated = study.repeated
    if repeated is None:
        return ()
    if not repeated.repeats:
        rows = tuple((reason,) for reason in repeated.reasons)
        return (Table("Repeated pre-training: no repeat is complete", ("reason",), (rows,)),) if rows else ()
    return (_own_table(repeated), _movement_table(repeated))


def repeated_sentence(study: Study) -> str:
    """How far repeated pre-training moves the agreement, in one sentence; "" without a repeat."""
    repeated = study.repeated
    if repeated is None or not repeated.repeats:
        return ""
    sources = counted(repeated.own["source"].nunique(), "source")
    estimates, controls = (repeated.names(kind) for kind in (METRIC, CONTROL))
    moved = [
        f"by {number(repeated.movement(*names))} for {counted(len(names), noun)}"
        for names, noun in ((estimates, "estimate"), (controls, "control"))
        if names
    ]
    if not moved:
        return f"With {sources} pre-trained again with other seeds, no agreement is defined."
    return (
        f"With {sources} pre-trained again with {counted(len(repeated.repeats), 'other seed')}, weighted Kendall moves "
        f"{' and '.join(moved)} (root mean square)."
    )


def _own_table(repeated: RepeatedPretraining) -> Table:
    wide = repeated.own.pivot(index="source", columns="pretraining", values="dice").reset_index()  # noqa: PD010
    columns = [Column("source", "source"), *(_pretraining(name, wide) for name in (STUDY, *repeated.repeats))]
    rows = repeated.spread[repeated.spread["metric"] == DICE]
    notes = []
    if math.isfinite(repeated.share(DICE)):
        notes.append(
            f"After fine-tuning their Dice has a standard deviation of {THREE_DIGITS(float(rows['sd'].mean()))} "
            f"between pre-training seeds, {percent(repeated.share(DICE))} of that over the pool (mean over targets); "
            "part of it is the noise of the fine-tuning seeds."
        )
    title = "Repeated pre-training: Dice of the sources on their own task"
    return table_of(title, columns, [wide], [*notes, *repeated.reasons])


def _movement_table(repeated: RepeatedPretraining) -> Table:
    rows = repeated.agreement
    wide = rows.pivot(index=["metric", "kind"], columns="pretraining", values=PRIMARY).reset_index()  # noqa: PD010
    wide = wide.assign(
        share=[repeated.share(metric) for metric in wide["metric"]],
        moved=[repeated.movement(metric) for metric in wide["metric"]],
    ).sort_values(STUDY, ascending=False, kind="stable")
    columns = (
        Column("metric", lambda row: shown_name(row["metric"])),
        Column(
            "spread of seeds",
            lambda row: percent(row["share"]) if row["kind"] == METRIC else "",
            note="spread of seeds: standard deviation of the scores of the repeated sources between pre-training "
            "seeds, as a share of that of the scores over the pool, mean over targets.",
        ),
        *(_pretraining(name, wide) for name in (STUDY, *repeated.repeats)),
        Column("moves by", "moved", note="moves by: root mean square difference from the study."),
    )
    title = "Repeated pre-training: weighted Kendall with each seed, mean over targets"
    return table_of(title, columns, [wide[wide["kind"] == kind] for kind in (METRIC, CONTROL)])


def _pretraining(name: str, wide: pd.DataFrame) -> Column:
    return Column(name, lambda row: float(row[name]) if name in wide else math.nan)
