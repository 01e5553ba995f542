"""The result of an audit of a table of truth, and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from analysis.tables.tables import LABELS, Table, number
from analysis.truth.dispersion import Dispersion

SHOWN = ("weighted_kendall", "kendall", "pearson")


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        static: Pearson, Kendall and weighted Kendall -> the static leaderboard's mean agreement over targets (each left
            out in turn), with `_low` and `_high` of its 95% interval over sources.
        reason: Why the agreement is NaN, or "".
        dispersion: How much the ranks of the sources vary between targets.
        resolution: Two Dice this close count as tied.
        by_target: One row per target: sources, spread, tied (share of pairs), the static leaderboard's agreement, and
            `weighted_kendall_others`, the mean over the other targets.
        by_source: One row per source: targets, mean_rank (1 is best), rank_sd, and `weighted_kendall_without`, the
            static leaderboard's mean agreement without this source.
    """

    static: dict[str, float]
    reason: str
    dispersion: Dispersion
    resolution: float
    by_target: pd.DataFrame
    by_source: pd.DataFrame

    def facts(self) -> dict[str, object]:
        """The audit as plain data: `static_leaderboard` with measures and intervals, and the other fields."""
        return {
            "static_leaderboard": self.static | {"reason": self.reason},
            "rank_sd": self.dispersion.rank_sd,
            "rank_sd_random": self.dispersion.rank_sd_random,
            "resolution": self.resolution,
            "targets": self.by_target.to_dict("records"),
            "sources": self.by_source.to_dict("records"),
        }


def audit_tables(found: Audit, parts: Mapping[str, Audit], *, name: str) -> tuple[Table, ...]:
    """The three tables of an audit: the static leaderboard, then by target and by source.

    Args:
        found: The audit of all sources.
        parts: Name -> the audit of a sub-pool.
        name: The name of the table of truth.
    """
    return (_overall(found, parts, name), _by_target(found), _by_source(found))


def _overall(found: Audit, parts: Mapping[str, Audit], name: str) -> Table:
    columns = ("sources", "number", *(f"{LABELS[key]} [95%]" for key in SHOWN), "rank sd", "of random ranks", "tied")
    rows = tuple(_pool_row(label, part) for label, part in {"all": found, **parts}.items())
    notes = (
        "Agreement of the static leaderboard (mean centred Dice on the other targets) with the Dice, mean over "
        "targets, each left out in turn: what an estimate has to beat. Intervals: bootstrap over the sources. better "
        "half: by mean rank, so chosen by the outcome.",
        f"rank sd: standard deviation of a source's rank over the targets, mean over sources. tied: pairs within "
        f"{100 * found.resolution:g} Dice points, mean over targets.",
        *(f"{label}: {part.reason}" for label, part in {"all": found, **parts}.items() if part.reason),
    )
    return Table(
        f"Audit of {name}: the static leaderboard over {len(found.by_target)} targets", columns, (rows,), notes
    )


def _pool_row(label: str, part: Audit) -> tuple[str, ...]:
    static = part.static
    cells = [
        f"{number(static[key])} [{number(static[f'{key}_low'])}, {number(static[f'{key}_high'])}]" for key in SHOWN
    ]
    move, size = part.dispersion, len(part.by_source)
    tied = f"{100 * part.by_target['tied'].mean():.0f}%"
    return (label, str(size), *cells, number(move.rank_sd, digits=1), number(move.rank_sd_random, digits=1), tied)


def _by_target(found: Audit) -> Table:
    columns = ("target", "sources", "spread", "tied", *(LABELS[key] for key in SHOWN), "mean without it")
    rows = tuple(
        (
            str(row["target"]),
            str(row["sources"]),
            number(row["spread"]),
            f"{100 * row['tied']:.0f}%",
            *(number(row[key]) for key in SHOWN),
            number(row["weighted_kendall_others"]),
        )
        for row in found.by_target.to_dict("records")
    )
    reasons = tuple(f"{row['target']}: {row['reason']}" for row in found.by_target.to_dict("records") if row["reason"])
    notes = (
        "spread: best minus worst Dice. mean without it: mean weighted Kendall over the other targets.",
        *reasons,
    )
    return Table("Which targets carry the result", columns, (rows,), notes)


def _by_source(found: Audit) -> Table:
    columns = ("source", "targets", "mean rank", "rank sd", "best", "worst", "weighted Kendall without it")
    rows = tuple(
        (
            str(row["source"]),
            str(row["targets"]),
            number(row["mean_rank"], digits=1),
            number(row["rank_sd"], digits=1),
            number(row["best_rank"], digits=0),
            number(row["worst_rank"], digits=0),
            number(row["weighted_kendall_without"]),
        )
        for row in found.by_source.to_dict("records")
    )
    return Table("Which sources carry the result", columns, (rows,))
