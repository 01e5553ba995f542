"""The facts of a protocol: what the paper says, what the experiment does, and why it departs from the paper.

A suite states them as `protocol` in its yaml, a list of entries with the fields fact, paper and ours, and optionally
why and departure. Without `departure` an entry is a departure if it says why, or if the paper states a number or a list
and ours differs from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.tables.tables import Table, markdown_body
from benchmark.errors import InputError
from benchmark.tracking.records import Row

TITLE = "The paper's protocol"
COLUMNS = ("Fact", "The paper says", "We do", "Why")
DEPARTURE = "Departure"
NEEDED = ("fact", "paper", "ours")
FIELDS = (*NEEDED, "why", "departure")
# settings that change no result, and the number format, which the device decides
UNSTATED = {"folder", "keep_every", "processes", "amp"}
NOT_SET = "not set"


@dataclass(frozen=True)
class ProtocolFact:
    """One fact of a protocol.

    Attributes:
        fact: What it is about.
        paper: What the paper says of it.
        ours: What the experiment does.
        why: The reason for a departure, or a remark; may be empty.
        departure: Whether the experiment departs from the paper.
    """

    fact: str
    paper: str
    ours: str
    why: str
    departure: bool


def read_protocol(entries: Sequence[Mapping[str, Any]] | None) -> tuple[ProtocolFact, ...]:
    """Read the entries of `suite.protocol`.

    Args:
        entries: The resolved entries; None for a suite without a protocol.

    Raises:
        InputError: An entry lacks a field, has an unknown one, or a value is not text, a number, or a list of these.

    Example:
        >>> [fact] = read_protocol([{"fact": "steps", "paper": 250000, "ours": 250000}])
        >>> fact.paper, fact.departure
        ('250,000', False)
    """
    if entries is None:
        return ()
    if isinstance(entries, str | Mapping) or not isinstance(entries, Sequence):
        raise InputError(f"suite.protocol must be a list of entries with {', '.join(NEEDED)}, got {entries}")
    return tuple(_fact(entry, place) for place, entry in enumerate(entries))


def protocol_table(facts: Sequence[ProtocolFact], notes: Sequence[str] = ()) -> Table:
    """The facts as a table with notes below it; a departure starts its last cell with the word."""
    departures = sum(fact.departure for fact in facts)
    rows = tuple((fact.fact, fact.paper, fact.ours, _why(fact)) for fact in facts)
    note = f'{departures} of {len(facts)} facts depart from the paper; each says "{DEPARTURE}" in the last column.'
    return Table(TITLE, COLUMNS, (rows,), (note, *notes))


def protocol_markdown(entries: Sequence[Mapping[str, Any]]) -> str:
    """The table in Markdown without a heading, as docs/how-to/paper.md has it; arguments as in `read_protocol`."""
    return markdown_body(protocol_table(read_protocol(entries)))


def recorded_otherwise(rows: Mapping[str, Sequence[Row]], stated: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """What the runs of a study recorded otherwise than the settings by which a protocol's table is made.

    Args:
        rows: Stage -> its rows.
        stated: Stage -> setting -> value, as its runs record them.

    Returns:
        A line for each stage with runs of other settings; empty if there is none.
    """
    lines = []
    for stage, settings in stated.items():
        trained = [row for row in rows.get(stage, ()) if row.params.get("task") != "none" and "skipped" not in row.tags]
        others: dict[str, set[str]] = {}
        for row in trained:
            for name, value in settings.items():
                if name.rpartition(".")[2] not in UNSTATED and row.params.get(name, NOT_SET) != value:
                    others.setdefault(name, set()).add(row.params.get(name, NOT_SET))
        if others:
            differing = "; ".join(
                f"{name} {' or '.join(sorted(values))}, here {settings[name]}" for name, values in others.items()
            )
            lines.append(f"Runs of {stage} used other settings than the protocol's table states: {differing}.")
    return tuple(lines)


def _why(fact: ProtocolFact) -> str:
    if not fact.departure:
        return fact.why
    return f"{DEPARTURE}: {fact.why}" if fact.why else DEPARTURE


def _fact(entry: Mapping[str, Any], place: int) -> ProtocolFact:
    where = f"suite.protocol[{place}]"
    if not isinstance(entry, Mapping):
        raise InputError(f"{where} must have the fields {', '.join(NEEDED)}, got {entry}")
    if missing := [name for name in NEEDED if name not in entry]:
        raise InputError(f"{where} must have the fields {', '.join(NEEDED)}, missing {', '.join(missing)}")
    if unknown := [str(name) for name in entry if name not in FIELDS]:
        raise InputError(f"{where} must have only the fields {', '.join(FIELDS)}, got {', '.join(unknown)}")
    texts = {name: _text(entry[name], f"{where}.{name}") for name in NEEDED}
    why = _text(entry.get("why") or "", f"{where}.why")
    departure = entry.get("departure")
    if not isinstance(departure, bool | None):
        raise InputError(f"{where}.departure must be true or false, got {departure}")
    differs = not isinstance(entry["paper"], str) and texts["paper"] != texts["ours"]
    return ProtocolFact(**texts, why=why, departure=bool(why) or differs if departure is None else departure)


def _text(value: object, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence):
        return ", ".join(_text(part, where) for part in value)
    raise InputError(f"{where} must be text, a number, or a list of these, got {value}")
