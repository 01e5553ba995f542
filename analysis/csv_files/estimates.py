"""The scores of estimates from a CSV file: source, target, metric, score; higher is better."""

from dataclasses import dataclass

import pandas as pd

from analysis.csv_files.rows import check_columns, check_filled, check_once, numbers, read_rows
from analysis.evaluation.controls import CONTROLS
from benchmark.errors import InputError

ESTIMATE_COLUMNS = ("source", "target", "metric", "score")
ARCHITECTURE_CONTROLS = ("architecture", "architecture_pretrained")


@dataclass(frozen=True)
class EstimateTable:
    """The scores of a file.

    Attributes:
        name: The name or path of the file, as given.
        scores: Columns source, target, metric, score, reason, seconds (NaN): the rows that have a score.
        empty: Columns source, target, metric: the rows whose score is empty.
    """

    name: str
    scores: pd.DataFrame
    empty: pd.DataFrame


def read_estimates(path: str, *, name: str = "") -> EstimateTable:
    """Read the scores of estimates.

    Args:
        path: The CSV file.
        name: Its name in errors and on the page; by default the path.

    Raises:
        InputError: The file cannot be read, a column is missing, a field other than the score is empty, a score is not
            a number, a metric has the name of a control, or a row occurs twice.
    """
    name = name or path
    rows = read_rows(path, setting="estimates")
    check_columns(rows, ESTIMATE_COLUMNS, name=name)
    check_filled(rows, ESTIMATE_COLUMNS[:3], name=name)
    check_once(rows, ESTIMATE_COLUMNS[:3], name=name)
    reserved = rows.index[rows["metric"].isin([*CONTROLS, *ARCHITECTURE_CONTROLS])]
    if len(reserved):
        line = reserved[0]
        raise InputError(
            f"{name}: metric must not be the name of a control, got {rows.loc[line, 'metric']} on line {line}"
        )
    scores = rows[["source", "target", "metric"]].assign(
        score=numbers(rows, "score", rule="a finite number", name=name), reason="", seconds=float("nan")
    )
    known = scores["score"].notna()
    if not known.any():
        raise InputError(f"{name}: score must be given in at least one row, got none")
    empty = scores.loc[~known, ["source", "target", "metric"]]
    return EstimateTable(name, scores[known].reset_index(drop=True), empty.reset_index(drop=True))
