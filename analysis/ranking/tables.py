"""Write a ranking as tables for the terminal and the page, as CSV and as JSON."""

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
    "Intervals and shares show how much the order depends on these cases. They do not show how well an estimate "
    "predicts the Dice after fine-tuning: where this project measured that, the best estimates agreed with it "
    "moderately, and none clearly beat a leaderboard that ignores the target."
)


@dataclass(frozen=True)
class Account:
    """Costs, notes and reasons that are shown with a ranking.

    Attributes:
        task: The target's name.
        costs: One row per source: source, architecture, parameters, window, seconds, peak_memory_mb,
            fine_tuning_seconds and fine_tuning_reason (why fine_tuning_seconds is NaN).
        reasons: (source, metric) -> why a score is undefined, or what it leaves out.
        notes: Source -> what was adapted.
        skipped: Source -> why it was skipped.
        where: Where the ranking was computed, in words.
        fine_tuning: What the estimated cost of fine-tuning covers, in words.
        resampling: How intervals were computed, in words.
        other_files: The number of unrelated files among the sources.
        search: Further notes on the search for sources, one line each.
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
    """The tables of the ranking, the agreement between metrics, and the cost.

    Args:
        ranking: The ranking.
        account: Costs, notes and reasons to show with it.
        intervals: Whether to show all intervals; by default only those of `ranking.by`, to fit a terminal.

    Returns:
        The tables, in reading order; their notes say what is undefined, adapted and skipped.
    """
    return order_table(ranking, account, intervals=intervals), agreement_table(ranking), cost_table(account)


def order_table(ranking: Ranking, account: Account, *, intervals: bool = False) -> Table:
    """The sources, best first; arguments as in `ranking_tables`."""
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
    """Kendall's tau-b between metrics; if all values are undefined, a table with only a note on the reason."""
    agreement = ranking.agreement
    title = "agreement of the estimates about the order (Kendall's tau-b)"
    if not np.isfinite(agreement.to_numpy(dtype=float)).any():
        return Table(title, (), (), (_no_agreement(len(ranking.table)),))
    rows = [(str(name), *(_number(value) for value in agreement.loc[name])) for name in agreement.index]
    note = (
        "The standing is the mean over the metrics; NaN: fewer than three sources have both scores, or all are equal."
    )
    return Table(title, ("", *map(str, agreement.columns)), (tuple(rows),), (note,))


def _no_agreement(sources: int) -> str:
    if sources < FEWEST_SOURCES:
        return f"Agreement needs at least three scored sources; there {'is' if sources == 1 else 'are'} {sources}."
    return "Undefined: no two estimates have different scores for at least three sources."


def cost_table(account: Account) -> Table:
    """The cost of scoring, and the estimated cost of fine-tuning."""
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
    """The estimated fine-tuning time of all sources that have an estimate."""
    known = costs["fine_tuning_seconds"].dropna()
    if not len(known):
        return duration(math.nan)
    total = duration(float(known.sum()))
    return total if len(known) == len(costs) else f"{total} ({len(known)} of {len(costs)} sources)"


def ranking_csv(ranking: Ranking, account: Account) -> str:
    """The ranking as CSV: one row per source, best first, skipped sources last."""
    table = ranking.table.merge(account.costs, on="source", how="left")
    table["notes"] = ["; ".join(account.notes.get(str(name), ())) for name in table["source"]]
    skipped = pd.DataFrame({"source": list(account.skipped), "skipped": list(account.skipped.values())})
    return pd.concat([table, skipped], ignore_index=True).to_csv(index=False)


def ranking_json(ranking: Ranking, account: Account, facts: Mapping[str, Any]) -> str:
    """The ranking as strict JSON, with null for undefined values."""
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
    """Join a number and its noun, in the plural if needed.

    Example:
        >>> counted(1, "case"), counted(4, "case")
        ('1 case', '4 cases')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Format a duration in seconds for readers.

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


def _grouped(notes: Iterable[tuple[str, str]]) -> list[str]:
    """One line per distinct note, with all its sources; `notes` are pairs of note and source."""
    sources_of: dict[str, list[str]] = {}
    for note, source in notes:
        sources_of.setdefault(note, []).append(source)
    return [f"{', '.join(sources)}: {note}" for note, sources in sources_of.items()]


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _strict(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)) else value
