"""A ranking as tables for the terminal and the page, as CSV and as JSON."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.ranking.order import STANDING, Ranking
from analysis.tables.tables import UNDEFINED, Table

CAUTION = (
    "Intervals and shares say how much the order owes to these cases. They do not say how well an estimate predicts "
    "the Dice after fine-tuning: where this project measured that, the best estimates agreed with it moderately, and "
    "none clearly beat a leaderboard that ignores the target."
)


@dataclass(frozen=True)
class Account:
    """What stands beside the order.

    Attributes:
        task: The target's name.
        costs: A line a source: source, architecture, parameters, window, seconds, peak_memory_mb, fine_tuning_seconds
            and fine_tuning_reason, which says why that is NaN.
        reasons: (source, metric) -> why a score is undefined, or what it leaves out.
        notes: Source -> what was adapted.
        skipped: Source -> why it was skipped.
        where: Where it ran, in words.
        fine_tuning: What the estimated cost of fine-tuning is for, in words.
        resampling: How intervals were made, in words.
        other_files: How many files lie among the sources and have nothing to do with them.
        search: What else is to be said of the search for sources, one line each.
    """

    task: str
    costs: pd.DataFrame
    reasons: Mapping[tuple[str, str], str]
    notes: Mapping[str, Sequence[str]]
    skipped: Mapping[str, str]
    where: str
    fine_tuning: str
    resampling: str
    other_files: int = 0
    search: Sequence[str] = ()


def ranking_tables(ranking: Ranking, account: Account, *, intervals: bool = False) -> tuple[Table, ...]:
    """The order, the agreement between metrics, the cost.

    Args:
        ranking: The order.
        account: What stands beside it.
        intervals: Every score with its interval; without it that of the order alone, which a terminal has room for.

    Returns:
        The tables, in reading order; their notes say what is undefined, adapted and skipped.
    """
    return order_table(ranking, account, intervals=intervals), agreement_table(ranking), cost_table(account)


def order_table(ranking: Ranking, account: Account, *, intervals: bool = False) -> Table:
    """Sources, best first; arguments as `ranking_tables`."""
    names = (STANDING, *ranking.metrics)
    shown = ranking.by if ranking.draws else None
    columns = ["place", "source", *([f"first ({ranking.by})"] if shown else []), *names]
    rows = [
        (
            UNDEFINED if pd.isna(line["place"]) else f"{int(line['place'])}",
            str(line["source"]),
            *([_percent(line[f"{ranking.by}_first"])] if shown else []),
            *(_cell(line, name) if intervals or name == ranking.by else _number(float(line[name])) for name in names),
        )
        for _, line in ranking.table.iterrows()
    ]
    notes = [ranking.verdict, account.resampling]
    notes += _grouped((f"{metric}: {why}", source) for (source, metric), why in account.reasons.items())
    notes += _grouped((note, source) for source, own in account.notes.items() for note in own)
    notes += _grouped((f"skipped: {why}", source) for source, why in account.skipped.items())
    counts = f"{counted(len(rows), 'source')} by {ranking.by}, {counted(ranking.cases, 'case')}"
    title = f"{account.task}: {counts}"
    return Table(title, tuple(columns), (tuple(rows),), (*notes, *account.search, CAUTION))


def agreement_table(ranking: Ranking) -> Table:
    """Kendall's tau-b between metrics; without rows, and a note that says why, where it is undefined throughout."""
    found = ranking.agreement
    title = "agreement of the estimates about the order (Kendall's tau-b)"
    if not np.isfinite(found.to_numpy(dtype=float)).any():
        return Table(title, (), (), (_no_agreement(len(ranking.table)),))
    rows = [(str(name), *(_number(value) for value in found.loc[name])) for name in found.index]
    note = (
        "The standing is the mean over the metrics; NaN: fewer than three sources have both scores, or all are equal."
    )
    return Table(title, ("", *map(str, found.columns)), (tuple(rows),), (note,))


def _no_agreement(sources: int) -> str:
    if sources < FEWEST_SOURCES:
        return f"Agreement needs at least three scored sources; there {'is' if sources == 1 else 'are'} {sources}."
    return "Undefined: no two estimates have different scores for at least three sources."


def cost_table(account: Account) -> Table:
    """What scoring cost, and what fine-tuning would have."""
    rows = [
        (
            str(line["source"]),
            str(line["architecture"]),
            f"{line['parameters'] / 1e6:.2f} M",
            str(line["window"]),
            duration(float(line["seconds"])),
            f"{line['peak_memory_mb']:.0f} MB",
            duration(float(line["fine_tuning_seconds"])),
        )
        for _, line in account.costs.iterrows()
    ]
    total = ("all", "", "", "", duration(float(account.costs["seconds"].sum())), "", _total_tuning(account.costs))
    columns = ("source", "architecture", "weights", "window", "forward passes", "peak memory", "fine-tuning, estimated")
    unknown = _grouped(
        (f"the cost of fine-tuning is not known: {line['fine_tuning_reason']}", str(line["source"]))
        for _, line in account.costs.iterrows()
        if line.get("fine_tuning_reason")
    )
    return Table("cost", columns, (tuple(rows), (total,)), (*unknown, account.fine_tuning, account.where))


def _total_tuning(costs: pd.DataFrame) -> str:
    """The estimated fine-tuning of all sources, or of as many as have an estimate."""
    known = costs["fine_tuning_seconds"].dropna()
    if not len(known):
        return duration(math.nan)
    total = duration(float(known.sum()))
    return total if len(known) == len(costs) else f"{total} ({len(known)} of {len(costs)} sources)"


def ranking_csv(ranking: Ranking, account: Account) -> str:
    """A line a source, best first, skipped ones last, all figures and what was adapted."""
    table = ranking.table.merge(account.costs, on="source", how="left")
    table["notes"] = ["; ".join(account.notes.get(str(name), ())) for name in table["source"]]
    skipped = pd.DataFrame({"source": list(account.skipped), "skipped": list(account.skipped.values())})
    return pd.concat([table, skipped], ignore_index=True).to_csv(index=False)


def ranking_json(ranking: Ranking, account: Account, facts: Mapping[str, Any]) -> str:
    """All that is known, in strict JSON: null where undefined."""
    content = {
        "task": account.task,
        "by": ranking.by,
        "verdict": ranking.verdict,
        "cannot_be_told_apart": list(ranking.level),
        "cases": ranking.cases,
        "resamples": {"kind": ranking.kind, "number": ranking.draws, "told": account.resampling},
        "ranking": ranking.table.to_dict("records"),
        "agreement": ranking.agreement.to_dict(),
        "costs": account.costs.to_dict("records"),
        "fine_tuning": account.fine_tuning,
        "reasons": [{"source": s, "metric": m, "reason": why} for (s, m), why in account.reasons.items()],
        "notes": {source: list(own) for source, own in account.notes.items()},
        "skipped": dict(account.skipped),
        "other_files": account.other_files,
        "search": list(account.search),
        "where": account.where,
        **facts,
    }
    return json.dumps(_strict(content), indent=1, allow_nan=False)


def counted(number: int, noun: str) -> str:
    """A number and its noun.

    Example:
        >>> counted(1, "case"), counted(4, "case")
        ('1 case', '4 cases')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Seconds, readable.

    Example:
        >>> duration(75.0), duration(7200.0), duration(200000.0), duration(float("nan"))
        ('1 min 15 s', '2.0 h', '2.3 days', 'not known')
    """
    if math.isnan(seconds):
        return "not known"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _cell(line: "pd.Series[Any]", name: str) -> str:
    value, low, high = (float(line[f"{name}{end}"]) for end in ("", "_low", "_high"))
    interval = "" if math.isnan(low) else f" [{_number(low)}, {_number(high)}]"
    return f"{_number(value)}{interval}"


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.3g}"


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0%}"


def _grouped(told: Iterable[tuple[str, str]]) -> list[str]:
    """One line for each thing told, with all the sources that it is told of."""
    held: dict[str, list[str]] = {}
    for what, source in told:
        held.setdefault(what, []).append(source)
    return [f"{', '.join(sources)}: {what}" for what, sources in held.items()]


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value
