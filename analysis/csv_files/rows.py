"""Read the rows of a CSV file as text, each with its line, and check their values.

Every error names the file, the line, the rule and the value.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmark.errors import InputError

EMPTY = ("", "nan")  # a missing value, compared in lower case


def read_rows(name: str, *, setting: str) -> pd.DataFrame:
    """Read a CSV file with a header; commas between the values, UTF-8.

    Args:
        name: The path.
        setting: The setting that names the file, for errors.

    Returns:
        The values as text without surrounding spaces, indexed by the line of the file; rows without any value are left
        out.

    Raises:
        InputError: The file cannot be read, has no header or no rows, or a row has another number of values.
    """
    try:
        with Path(name).open(encoding="utf-8-sig", newline="") as stream:
            lines = list(_lines(csv.reader(stream, strict=True)))
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{setting} must be a CSV file, got {name}: {' '.join(str(error).split())}") from error
    if not lines:
        raise InputError(f"{setting} must be a CSV file with a header, got {name}, which is empty")
    (_, header), *rows = lines
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise InputError(f"{name} must have each column once, got {', '.join(map(repr, twice))} again")
    for line, values in rows:
        if len(values) != len(header):
            raise InputError(
                f"{name}: a row must have the {len(header)} values of the header, got {len(values)} on line {line}"
            )
    if not rows:
        raise InputError(f"{name} must contain at least one row, got none")
    index = pd.Index([line for line, _ in rows], name="line")
    return pd.DataFrame([values for _, values in rows], columns=header, index=index, dtype=str)


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The line on which each row ends, and its values; blank rows are left out."""
    for values in reader:
        stripped = [value.strip() for value in values]
        if any(stripped):
            yield reader.line_num, stripped  # type: ignore[attr-defined]  # of csv's reader


def check_columns(rows: pd.DataFrame, columns: Sequence[str], *, name: str) -> None:
    """Check that the file has the columns."""
    if missing := [column for column in columns if column not in rows.columns]:
        raise InputError(f"{name} must have the columns {', '.join(columns)}, missing {', '.join(missing)}")


def check_filled(rows: pd.DataFrame, columns: Sequence[str], *, name: str) -> None:
    """Check that the columns have a value in every row."""
    for column in columns:
        bad = rows.index[rows[column] == ""]
        if len(bad):
            raise InputError(
                f"{name}: {column} must be given in every row, got {len(bad)} empty, the first on line {bad[0]}"
            )


def check_once(rows: pd.DataFrame, columns: Sequence[str], *, name: str) -> None:
    """Check that no two rows have the same values in the columns."""
    twice = rows[rows.duplicated(list(columns))]
    if len(twice):
        first = ", ".join(f"{column} {twice.iloc[0][column]}" for column in columns)
        raise InputError(
            f"{name} must contain each {', '.join(columns)} once, got {first} again on line {twice.index[0]}"
        )


def check_constant(rows: pd.DataFrame, owner: str, column: str, *, name: str) -> None:
    """Check that a column has one value for each source or target; rows are indexed by their line.

    Raises:
        InputError: It has several.
    """
    pairs = rows[[owner, column]].drop_duplicates()
    if len(twice := pairs[pairs.duplicated(owner)]):
        line = twice.index[0]
        raise InputError(
            f"{name}: {column} must be the same in all rows of a {owner}, got {twice.loc[line, column]} for "
            f"{twice.loc[line, owner]} on line {line}"
        )


def numbers(rows: pd.DataFrame, column: str, *, rule: str, name: str) -> "pd.Series[float]":
    """The numbers of a column, NaN where it is empty.

    Args:
        rows: The rows.
        column: The column.
        rule: What a value must be, for errors.
        name: The file.

    Raises:
        InputError: A value is not a finite number.
    """
    values = rows[column].map(number_of)
    bad = rows.index[values.isna()]
    if len(bad):
        raise InputError(f"{name}: {column} must be {rule}, got {rows.loc[bad[0], column]} on line {bad[0]}")
    return values.where(~is_empty(rows[column])).astype(float)


def is_empty(values: "pd.Series[str]") -> "pd.Series[bool]":
    """Whether each text stands for a missing value."""
    return values.str.lower().isin(EMPTY)


def number_of(text: str) -> float:
    """The number that a text is: 0 for a missing value, NaN for anything that is not a finite number.

    Example:
        >>> [number_of(text) for text in ("0.5", "", "1,5", "inf")]
        [0.5, 0.0, nan, nan]
    """
    if text.lower() in EMPTY:
        return 0.0
    try:
        value = float(text.replace("_", "?"))  # Python reads 1_5 as a number
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
