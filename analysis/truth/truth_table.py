"""Read a truth from a CSV table instead of fine-tuning; columns source, target, dice and optionally seed and case.

Dice are fractions, or percent if any of them is above 1. The Dice of a pair and seed is the mean over its cases. The
tables that ship with the project are referred to by name (`analysis.published`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from analysis.published import OPENMIND, published_truth
from analysis.truth.pools import TRUTH_COLUMNS
from analysis.truth.seed_case_bootstrap import CASE_COLUMNS
from benchmark.errors import InputError

NEEDED = ("source", "target", "dice")
TUNE = "as given"  # the table does not say what was tuned
PERCENT = 100.0


@dataclass(frozen=True)
class TruthTable:
    """The truth of a table.

    Attributes:
        name: The name or path of the table, as given.
        truth: Columns source, target, seed, tune, dice (a fraction).
        cases: The Dice of each case, columns `analysis.truth.seed_case_bootstrap.CASE_COLUMNS`; None if the table has
            no cases.
        percent: Whether the table's Dice are in percent.
    """

    name: str
    truth: pd.DataFrame
    cases: pd.DataFrame | None
    percent: bool


def read_table(name: str | None) -> TruthTable:
    """Read a table of truth.

    Args:
        name: A CSV file, or the name of a table that ships with the project.

    Returns:
        The table.

    Raises:
        InputError: The file does not exist, a column is missing, a field is empty or not a number, a Dice is outside
            [0, 100], or a row occurs twice.

    Example:
        >>> read_table("openmind_resenc_l").truth.shape
        (132, 5)
    """
    if not name:
        raise InputError(f"table must name a CSV file with the columns {', '.join(NEEDED)}, got {name}")
    rows = published_truth(name) if name in OPENMIND else _read(name)
    _check(rows, name)
    percent = bool((rows["dice"] > 1).any())
    if percent:
        rows = rows.assign(dice=rows["dice"] / PERCENT)
    if "seed" not in rows:
        rows = rows.assign(seed=0)
    rows = rows.assign(tune=TUNE)
    if "case" not in rows:
        return TruthTable(name, rows[list(TRUTH_COLUMNS)], None, percent)
    truth = rows.groupby(["source", "target", "seed", "tune"], sort=False)["dice"].mean().reset_index()
    return TruthTable(name, truth[list(TRUTH_COLUMNS)], rows.assign(**{"class": "all"})[list(CASE_COLUMNS)], percent)


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


def _read(name: str) -> pd.DataFrame:
    if not Path(name).is_file():
        raise InputError(f"table must name a CSV file or one of {', '.join(OPENMIND)}, got {name}")
    try:
        rows = pd.read_csv(name, dtype={"source": str, "target": str, "case": str})
    except (ValueError, UnicodeDecodeError) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"table must be a CSV file, got {name}: {' '.join(str(error).split())}") from error
    return rows.rename(columns=str.strip)


def _check(rows: pd.DataFrame, name: str) -> None:
    if missing := [column for column in NEEDED if column not in rows.columns]:
        raise InputError(f"{name} must have the columns {', '.join(NEEDED)}, missing {', '.join(missing)}")
    if rows.empty:
        raise InputError(f"{name} must contain at least one row, got none")
    known = [column for column in ("source", "target", "seed", "case") if column in rows.columns]
    for column in known:
        if empty := int(rows[column].isna().sum()):
            line = int(np.flatnonzero(rows[column].isna())[0]) + 2
            raise InputError(
                f"{name}: {column} must be given in every row, got {empty} empty, the first on line {line}"
            )
    if "seed" in rows.columns and not pd.api.types.is_integer_dtype(rows["seed"]):
        raise InputError(f"{name}: seed must be a whole number in every row, got {rows['seed'].iloc[0]}")
    dice = pd.to_numeric(rows["dice"], errors="coerce")
    bad = ~dice.between(0, PERCENT)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{name}: dice must be a fraction or a percentage, got {rows['dice'].iloc[place]} on line {place + 2}"
        )
    if len(twice := rows[rows.duplicated(known)]):
        first = ", ".join(f"{column} {twice.iloc[0][column]}" for column in known)
        raise InputError(f"{name} must contain each {', '.join(known)} once, got {first} again")
