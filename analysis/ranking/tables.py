"""Write a ranking as tables for the terminal and the page, as CSV and as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.ranking.order import STANDING, Ranking
from analysis.ranking.settled import Settled
from analysis.tables.number_format import UNDEFINED, counted, duration, percent, significant, strict_json, with_interval
from analysis.tables.tables import Column, Table, table_of

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
        metric_choice: What the choice of the metrics rests on, in words; empty if the user made it.
        coverage: Which cases and windows were scored, and what was left out, one line each; empty if nothing was.
        settled: Whether the order has settled.
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
    metric_choice: str = ""
    coverage: Sequence[str] = ()
    settled: Settled | None = None


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
    columns = [
        Column("place", lambda row: UNDEFINED if pd.isna(row["place"]) else f"{int(row['place'])}"),
        Column("source", "source"),
    ]
    if ranking.draws:
        columns.append(Column(f"first ({ranking.by})", lambda row: _first_share(row[f"{ranking.by}_first"])))
    for name in (STANDING, *ranking.scores.metrics):
        whole = partial(with_interval, name=name, form=significant)
        columns.append(Column(name, whole if intervals or name == ranking.by else name, significant))
    notes = [ranking.verdict, *account.coverage, account.resampling]
    notes += [account.settled.describe()] if account.settled is not None else []
    notes += _grouped((f"{metric}: {why}", source) for (source, metric), why in account.reasons.items())
    notes += _grouped((note, source) for source, own in account.notes.items() for note in own)
    notes += _grouped((f"skipped: {why}", source) for source, why in account.skipped.items())
    counts = f"{counted(len(ranking.table), 'source')} by {ranking.by}, {counted(ranking.scores.cases, 'case')}"
    notes += [*account.search, *filter(None, [account.metric_choice]), CAUTION]
    return table_of(f"{account.task}: {counts}", columns, [ranking.table], notes)


def _first_share(share: float) -> str:
    return "" if np.isnan(share) else percent(share)


def agreement_table(ranking: Ranking) -> Table:
    """Kendall's tau-b between metrics; if all values are undefined, a table with only a note on the reason."""
    agreement = ranking.agreement
    title = "agreement of the estimates about the order (Kendall's tau-b)"
    if not np.isfinite(agreement.to_numpy(dtype=float)).any():
        return Table(title, (), (), (_no_agreement(len(ranking.table)),))
    columns = [Column("", "index"), *(Column(str(name), name, significant) for name in agreement.columns)]
    note = (
        "The standing is the mean over the metrics; NaN: fewer than three sources have both scores, or all are equal."
    )
    return table_of(title, columns, [agreement.reset_index()], [note])


def _no_agreement(sources: int) -> str:
    if sources < FEWEST_SOURCES:
        return f"Agreement needs at least three scored sources; there {'is' if sources == 1 else 'are'} {sources}."
    return "Undefined: no two estimates have different scores for at least three sources."


COST_COLUMNS = (
    Column("source", "source"),
    Column("architecture", "architecture"),
    Column("weights", "parameters", lambda count: f"{count / 1e6:.2f} M"),
    Column("window", "window"),
    Column("forward passes", "seconds", duration),
    Column("peak memory", "peak_memory_mb", lambda size: f"{size:.0f} MB"),
    Column("fine-tuning, estimated", "fine_tuning_seconds", duration),
)


def cost_table(account: Account) -> Table:
    """The cost of scoring, and the estimated cost of fine-tuning."""
    costs = account.costs
    total = dict.fromkeys(costs.columns, "") | {"source": "all", "seconds": costs["seconds"].sum()}
    reasons = zip(costs["fine_tuning_reason"], costs["source"], strict=True) if "fine_tuning_reason" in costs else ()
    unknown = _grouped((f"the cost of fine-tuning is not known: {why}", str(name)) for why, name in reasons if why)
    total |= {"fine_tuning_seconds": _total_tuning(costs)}
    return table_of("cost", COST_COLUMNS, [costs, [total]], (*unknown, account.fine_tuning, account.where))


def _total_tuning(costs: pd.DataFrame) -> str:
    known = costs["fine_tuning_seconds"].dropna()
    if not len(known):
        return duration(np.nan)
    total = duration(float(known.sum()))
    return total if len(known) == len(costs) else f"{total} ({len(known)} of {len(costs)} sources)"


def ranking_csv(ranking: Ranking, account: Account) -> str:
    """The ranking as CSV: one row per source, best first, skipped sources last."""
    table = ranking.table.merge(account.costs, on="source", how="left")
    table["notes"] = ["; ".join(account.notes.get(str(name), ())) for name in table["source"]]
    skipped = pd.DataFrame({"source": list(account.skipped), "skipped": list(account.skipped.values())})
    return pd.concat([table, skipped], ignore_index=True).to_csv(index=False)


def ranking_json(ranking: Ranking, account: Account, facts: Mapping[str, object]) -> str:
    """The ranking as strict JSON, with null for undefined values."""
    content = {
        "task": account.task,
        "by": ranking.by,
        "metric_choice": account.metric_choice,
        "verdict": ranking.verdict,
        "cannot_be_told_apart": list(ranking.level),
        "cases": ranking.scores.cases,
        "coverage": list(account.coverage),
        "settled": account.settled.entry() if account.settled is not None else None,
        "resamples": {"kind": ranking.scores.kind, "number": ranking.draws, "description": account.resampling},
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
    return json.dumps(strict_json(content), indent=1, allow_nan=False)


def _grouped(notes: Iterable[tuple[str, str]]) -> list[str]:
    """One line per distinct note, with all its sources; `notes` are pairs of note and source."""
    sources_of: dict[str, list[str]] = {}
    for note, source in notes:
        sources_of.setdefault(note, []).append(source)
    return [f"{', '.join(sources)}: {note}" for note, sources in sources_of.items()]
