"""The golden vectors as entries to check: index.json tells what there is, scope.csv what of it must be met."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

OURS = Path(__file__).parents[1] / "golden"
# scope.csv names the layers and pairs of its own vectors; others of the same format may have more of them
NUMBERED = ((r"^dec\d+__", "dec0__"), (r"^(w2_pair|w2_self|variety_a)\d+$", r"\g<1>0"))
# A golden 0 is met to the rounding of float64 arithmetic on numbers of the size of the entry's others, or of 1
ROUNDING = 1e-12


@dataclass(frozen=True)
class Scope:
    """A row of scope.csv: status is required, reported or not ours; tolerances are None where the row has none."""

    status: str
    function: str
    rtol: float | None
    atol: float | None
    note: str


@dataclass(frozen=True)
class Entry:
    """One output of released code (or a written-out formula), and what it was computed from.

    `value` is None where the released code failed, with its message as `error`; a NaN that it returned is a value.
    """

    file: Path
    kind: str
    method: str
    params: Mapping[str, object]
    value: np.ndarray | None
    error: str
    suggested_rtol: float
    scope: Scope
    input_keys: tuple[str, ...] = field(compare=False)

    @property
    def id(self) -> str:
        return f"{self.file.stem}-{self.method}"

    @property
    def rtol(self) -> float:
        return self.suggested_rtol if self.scope.rtol is None else self.scope.rtol

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        arrays = arrays_of(self.file)
        return {key: arrays[key] for key in self.input_keys}

    def sibling(self, method: str) -> "Entry":
        """Another output of the same file."""
        return next(
            entry for entry in read_entries(self.file.parent) if (entry.file, entry.method) == (self.file, method)
        )


@cache
def arrays_of(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


@cache
def read_entries(folder: Path) -> tuple[Entry, ...]:
    """All entries of a folder's index.json, each with its row of scope.csv.

    An entry without a row is required, so that it cannot pass unseen.
    """
    scopes = read_scope(folder)
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    return tuple(_entry(folder / file["file"], file, raw, scopes) for file in index["files"] for raw in file["entries"])


def read_scope(folder: Path) -> dict[str, Scope]:
    """The rows of a folder's scope.csv by method; a folder of vectors alone is judged by that of our own vectors."""
    with (
        (folder if (folder / "scope.csv").exists() else OURS)
        .joinpath("scope.csv")
        .open(encoding="utf-8", newline="") as file
    ):
        return {
            row["method"]: Scope(
                row["status"], row["function"], _number(row["rtol"]), _number(row["atol"]), row["note"]
            )
            for row in csv.DictReader(file)
        }


def _entry(path: Path, file: dict, raw: dict, scopes: dict[str, Scope]) -> Entry:
    method = raw["method"]
    generic = method
    for pattern, first in NUMBERED:
        generic = re.sub(pattern, first, generic)
    arrays = arrays_of(path)
    value = None if raw["key"] is None or raw["error"] else arrays[raw["key"]]
    listed = tuple(key for key in file["input_keys"] if key in arrays)
    return Entry(
        file=path,
        kind=file["kind"],
        method=method,
        params=raw.get("params") or {},
        value=value,
        error=raw["error"] or "",
        suggested_rtol=float(raw["suggested_rtol"]),
        scope=scopes.get(method) or scopes.get(generic) or Scope("required", "", None, None, "no row in scope.csv"),
        # a long list of inputs is abbreviated to a pattern
        input_keys=listed or tuple(key for key in arrays if not key.startswith("out__")),
    )


def _number(text: str) -> float | None:
    return float(text) if text.strip() else None
