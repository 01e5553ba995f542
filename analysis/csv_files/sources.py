"""Facts of the sources from a CSV file: source with architecture, parameters and pretrained, each of them optional."""

from collections.abc import Sequence

import pandas as pd

from analysis.csv_files.rows import (
    check_columns,
    check_constant,
    check_filled,
    check_once,
    is_empty,
    numbers,
    read_rows,
)
from analysis.truth.pools import NO_WIDTH, SCRATCH
from benchmark.errors import InputError

ARCHITECTURE, PARAMETERS, PRETRAINED = FACT_COLUMNS = ("architecture", "parameters", "pretrained")
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")
UNKNOWN = "unknown"
LENGTHS = {True: PRETRAINED, False: SCRATCH, None: UNKNOWN}


def read_sources(name: str) -> pd.DataFrame:
    """Read the facts of the sources.

    Args:
        name: A CSV file with the columns source and at least one of `FACT_COLUMNS`.

    Returns:
        One row per source, with the columns that `analysis.evaluation.correlate` needs: source, task, arch, width,
        length, parameters, source_dice, source_cases; NaN or "unknown" for what is not given.

    Raises:
        InputError: The file cannot be read, a column is missing, a value is not allowed, or a source occurs twice.
    """
    rows = read_rows(name, setting="sources")
    check_columns(rows, ["source"], name=name)
    if not set(FACT_COLUMNS) & set(rows.columns):
        raise InputError(f"{name} must have at least one of the columns {', '.join(FACT_COLUMNS)}, got none")
    check_filled(rows, ["source"], name=name)
    check_once(rows, ["source"], name=name)
    return read_facts(rows, name=name)


def read_facts(rows: pd.DataFrame, *, name: str) -> pd.DataFrame:
    """The facts in rows of a file that may have several rows per source; result as in `read_sources`.

    Raises:
        InputError: A value is not allowed, or a source has two values.
    """
    given = [column for column in FACT_COLUMNS if column in rows.columns]
    for column in given:
        check_constant(rows, "source", column, name=name)
    once = rows.drop_duplicates("source")
    empty = pd.Series("", index=once.index)
    arch = once[ARCHITECTURE] if ARCHITECTURE in given else empty
    parameters = (
        numbers(once, PARAMETERS, rule="a number", name=name)
        if PARAMETERS in given
        else empty.map(lambda _: float("nan"))
    )
    if len(bad := once.index[parameters < 0]):
        raise InputError(
            f"{name}: parameters must not be negative, got {once.loc[bad[0], PARAMETERS]} on line {bad[0]}"
        )
    pretrained = [_pretrained(text, line, name) for line, text in once.get(PRETRAINED, empty).items()]
    frame = pd.DataFrame({"source": once["source"], "task": "", "arch": arch.where(~is_empty(arch), UNKNOWN)})
    frame = frame.assign(width=NO_WIDTH, length=[LENGTHS[value] for value in pretrained], parameters=parameters)
    return frame.assign(source_dice=float("nan"), source_cases=float("nan")).reset_index(drop=True)


def facts_of(names: Sequence[str], known: pd.DataFrame) -> pd.DataFrame:
    """The facts of the named sources; a source without a row is unknown in everything."""
    others = pd.DataFrame({"source": [name for name in names if name not in set(known["source"])]}, dtype=str)
    frames = [known[known["source"].isin(names)]] + ([read_facts(others, name="")] if len(others) else [])
    return pd.concat(frames, ignore_index=True)


def _pretrained(text: str, line: object, name: str) -> bool | None:
    if text == "":
        return None
    if text.lower() not in (*TRUE, *FALSE):
        raise InputError(f"{name}: pretrained must be true or false, got {text} on line {line}")
    return text.lower() in TRUE
