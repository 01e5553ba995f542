"""Read a truth from a CSV table instead of fine-tuning.

Columns: source, target, the value, and optionally seed, case and group (of targets that come from one data set); also
architecture, parameters and pretrained of the source. Values are fractions, or percent. The value of a pair and seed is
the mean over its cases. An empty value is a missing pair. The tables that ship with the project are referred to by name
(`analysis.published`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from analysis.csv_files.rows import (
    check_columns,
    check_constant,
    check_filled,
    check_once,
    number_of,
    numbers,
    read_rows,
)
from analysis.csv_files.sources import FACT_COLUMNS, read_facts
from analysis.published import POOLS, published_path
from analysis.truth.pools import TRUTH_COLUMNS
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS
from benchmark.errors import InputError

DICE = "dice"
NEEDED = ("source", "target", DICE)
KEYS = ("source", "target", "seed", "case")
GROUP = "group"
TUNE = "as given"  # the table does not say what was tuned
PERCENT = 100.0
SCALES = ("auto", "fraction", "percent")
MOSTLY = 0.5  # share of the values above 0 from which values above 1 mean percent


@dataclass(frozen=True)
class TruthTable:
    """The truth of a table.

    Attributes:
        name: The name or path of the table, as given.
        truth: Columns source, target, seed, tune, dice (the value as a fraction, NaN if it is missing).
        cases: The value of each case, columns `analysis.truth.seed_case_bootstrap.CASE_COLUMNS`; None if the table has
            no cases.
        percent: Whether the table's values are in percent.
        measure: The column of the values.
        groups: Target -> its group; empty if the table has none.
        sources: The sources and what the table says of them, as `analysis.csv_files.sources.read_sources`.
        missing: Columns source, target, reason: the pairs that have no value or lack one.
    """

    name: str
    truth: pd.DataFrame
    cases: pd.DataFrame | None
    percent: bool
    measure: str = DICE
    groups: Mapping[str, str] = field(default_factory=dict)
    sources: pd.DataFrame = field(default_factory=pd.DataFrame)
    missing: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["source", "target", "reason"]))


def read_table(name: str | None, *, measure: str | None = None, scale: str = "auto") -> TruthTable:
    """Read a table of truth.

    Args:
        name: A CSV file, or the name of a table that ships with the project.
        measure: The column of the values; by default the only one that is none of the others.
        scale: "fraction" or "percent"; "auto" takes values above 1 for percent.

    Returns:
        The table.

    Raises:
        InputError: The file does not exist, a column is missing, a field other than the value is empty, a value is
            neither a fraction nor a percentage, or a row occurs twice.

    Example:
        >>> read_table("openmind_resenc_l").truth.shape
        (132, 5)
    """
    if scale not in SCALES:
        raise InputError(f"scale must be one of {', '.join(SCALES)}, got {scale}")
    if not name:
        raise InputError(f"table must name a CSV file with the columns {', '.join(NEEDED)}, got {name}")
    is_file = Path(name).is_file()
    if not is_file and name not in POOLS:
        raise InputError(f"table must name a CSV file or one of {', '.join(POOLS)}, got {name}")
    rows = read_rows(name if is_file else str(published_path(name)), setting="table")
    value = _value_column(rows, measure, name)
    keys = [column for column in KEYS if column in rows.columns]
    check_filled(rows, [*keys, *({GROUP} & set(rows.columns))], name=name)
    rows = rows.assign(seed=_seeds(rows, name))
    check_once(rows, keys, name=name)
    values = numbers(rows, value, rule="a fraction or a percentage", name=name)
    percent = _check_scale(rows[value], values, scale, name)
    rows = rows.assign(tune=TUNE, dice=values / PERCENT if percent else values)
    rows, cases = _over_cases(rows) if "case" in rows else (rows, None)
    return TruthTable(
        name=name,
        truth=rows[list(TRUTH_COLUMNS)].reset_index(drop=True),
        cases=cases,
        percent=percent,
        measure=value,
        groups=_groups(rows, name) if is_file else POOLS[name].groups,
        sources=read_facts(rows, name=name),
        missing=_missing(rows, value),
    )


def read_truth_table(truth: str, table: str | None) -> TruthTable | None:
    """Read the table given by the settings `truth` and `table`.

    Args:
        truth: "fine_tuning" or "table".
        table: The table, None for fine-tuning.

    Returns:
        The table, or None for fine-tuning.

    Raises:
        InputError: `truth` is neither of the two, `table` is given for fine-tuning, or the table is invalid.
    """
    if truth == "table":
        return read_table(table)
    if truth != "fine_tuning":
        raise InputError(f"truth must be fine_tuning or table, got {truth}")
    if table is not None:
        raise InputError(f"table is only used with truth=table, got table={table} with truth={truth}")
    return None


def rows_outside(truth: pd.DataFrame, sources: pd.DataFrame, suite: DictConfig) -> str:
    """Say which sources and targets of a table are left out because the suite does not contain them.

    Args:
        truth: The table's truth.
        sources: The frame of the suite's sources.
        suite: The suite's config.

    Returns:
        A sentence, or "" if nothing is left out.

    Raises:
        InputError: The table and the suite have no source or no target in common.
    """
    parts = []
    for column, known in (("source", set(sources["source"])), ("target", set(suite.targets))):
        listed = set(truth[column])
        if not listed & known:
            names, got = (", ".join(sorted(part)) for part in (known, listed))
            raise InputError(f"table must contain a {column} of suite {suite.name} ({names}), got {got}")
        if outside := sorted(listed - known):
            parts.append(f"{column} {', '.join(outside)}")
    return f"left out of the table because suite {suite.name} does not contain it: {'; '.join(parts)}" if parts else ""


def _value_column(rows: pd.DataFrame, measure: str | None, name: str) -> str:
    if measure is not None:
        check_columns(rows, ["source", "target", measure], name=name)
        if measure in {*KEYS, GROUP, *FACT_COLUMNS}:
            raise InputError(f"measure must name the column of the values, got {measure}")
        return measure
    others = [column for column in rows.columns if column not in {*KEYS, GROUP, *FACT_COLUMNS}]
    numeric = [column for column in others if rows[column].map(number_of).notna().all()]
    chosen = others if len(others) == 1 else numeric
    if len(chosen) > 1 or (others and not chosen):
        raise InputError(f"measure must name the column of the values in {name}, one of {', '.join(numeric or others)}")
    check_columns(rows, ["source", "target", *(chosen or [DICE])], name=name)
    return chosen[0]


def _seeds(rows: pd.DataFrame, name: str) -> "pd.Series[int]":
    if "seed" not in rows:
        return pd.Series(0, index=rows.index)
    whole = rows["seed"].str.fullmatch(r"[+-]?\d{1,18}")
    if not whole.all():
        line = rows.index[~whole][0]
        raise InputError(
            f"{name}: seed must be a whole number in every row, got {rows.loc[line, 'seed']} on line {line}"
        )
    return rows["seed"].astype("int64")


def _check_scale(texts: "pd.Series[str]", values: "pd.Series[float]", scale: str, name: str) -> bool:
    """Whether the values are in percent."""
    column, above = texts.name, values > 1
    highest, rule = (1.0, "a fraction, as scale=fraction says") if scale == "fraction" else (PERCENT, "")
    bad = values.index[(values < 0) | (values > highest)]
    if len(bad):
        raise InputError(
            f"{name}: {column} must be {rule or 'a fraction or a percentage'}, got {texts[bad[0]]} on line {bad[0]}"
        )
    if values.isna().all():
        raise InputError(f"{name}: {column} must have a value in at least one row, got none")
    if scale != "auto":
        return scale == "percent"
    if above.any() and above.sum() < MOSTLY * (values > 0).sum():
        raise InputError(
            f"{name}: {column} must be all fractions or all percent, got {above.sum()} of {values.notna().sum()} "
            f"values above 1, the first on line {values.index[above][0]}; if they are percent, say scale=percent"
        )
    return bool(above.any())


def _over_cases(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The mean over the cases of each pair and seed, and the cases.

    A case without any value on a target is left out; a pair that lacks another case has no value.
    """
    known = rows.groupby(["target", "case"])["dice"].transform("count") > 0
    others = rows.groupby(["source", "target"])["dice"].transform("count") == 0  # keep a pair without any value
    kept = rows[known | others].assign(**{"class": "all"})
    first = kept.drop_duplicates(["source", "target", "seed"]).set_index(["source", "target", "seed"])
    means = kept.groupby(["source", "target", "seed"], sort=False)["dice"].agg(lambda values: values.mean(skipna=False))
    return first.assign(dice=means).reset_index(), kept.loc[known, list(CASE_COLUMNS)].reset_index(drop=True)


def _groups(rows: pd.DataFrame, name: str) -> dict[str, str]:
    if GROUP not in rows:
        return {}
    check_constant(rows, "target", GROUP, name=name)
    pairs = rows[["target", GROUP]].drop_duplicates()
    return dict(zip(pairs["target"], pairs[GROUP], strict=True))


def _missing(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """The pairs with an empty value, and those of the table's sources and targets that have no row."""
    empty = rows[rows["dice"].isna()]
    with_seed = len(set(rows["seed"])) > 1
    reasons: dict[tuple[str, str], list[str]] = {}
    for source, target, seed in empty[["source", "target", "seed"]].itertuples(index=False):
        where = f" with seed {seed}" if with_seed else ""
        reasons.setdefault((source, target), []).append(f"{value} is empty{where}")
    known = set(zip(rows["source"], rows["target"], strict=True))
    for target in dict.fromkeys(rows["target"]):
        for source in dict.fromkeys(rows["source"]):
            if (source, target) not in known:
                reasons[source, target] = [f"no row with its {value}"]
    lines = [(source, target, ", ".join(dict.fromkeys(why))) for (source, target), why in reasons.items()]
    return pd.DataFrame(lines, columns=["source", "target", "reason"])
