"""Tables on controls and stability: comparisons with the static leaderboard and CC-FV, sub-pools, ranks, gaps."""

import numpy as np
import pandas as pd

from analysis.evaluation.study import ALL, MEAN, Study
from analysis.report.overview import frame_table, number
from analysis.tables.tables import UNDEFINED, Table

PRIMARY = "weighted_kendall"
OTHERS = {"static_leaderboard": "the static leaderboard", "ccfv": "CC-FV"}
MOST_ROWS = 200  # maximum number of sources or gaps in a table; the CSV has all
FAMILIES = {  # family whose sub-pools share a column -> the title of that column
    "one_source": "one source left out",
}


def stability_tables(study: Study) -> list[Table]:
    """All tables of the section; a table without rows has only its title.

    Args:
        study: The result of `correlate`.

    Returns:
        Comparisons, sub-pools, rank dispersion, missing scores.
    """
    return [
        *(comparison_table(study, other) for other in OTHERS),
        subpool_table(study),
        rank_table(study),
        gap_table(study),
    ]


def comparison_table(study: Study, other: str) -> Table:
    """Compare every metric with one other.

    Args:
        study: The result of `correlate`.
        other: "static_leaderboard" or "ccfv".

    Returns:
        One row per metric, in descending order of the difference.
    """
    rows = study.comparisons
    if len(rows):
        wanted = {"subset": ALL, "tune": study.tune, "target": MEAN, "measure": PRIMARY, "other": other}
        rows = rows[(rows[list(wanted)] == pd.Series(wanted)).all(axis=1)].sort_values("difference", ascending=False)
    cells = tuple(
        (
            str(row["metric"]),
            _between(row["difference"], row["low"], row["high"]),
            _percent(row["probability"]),
            number(row["p"], digits=3),
            number(row["p_holm"], digits=3),
        )
        for row in rows.to_dict("records")
    )
    columns = ("metric", "difference [95%]", "share of draws it wins", "p", "p (Holm)")
    notes = (
        "Paired difference of weighted Kendall, mean over targets, on the same bootstrap draws of the sources. "
        "p: two-sided.",
    )
    return Table(f"Against {OTHERS[other]}", columns, (cells,), notes)


def subpool_table(study: Study) -> Table:
    """Weighted Kendall within sub-pools.

    Args:
        study: The result of `correlate`.

    Returns:
        One row per metric, one column per sub-pool; leaving one source out is one column, "lowest to highest".
    """
    rows = study.stability
    if rows.empty:
        return Table("Within sub-pools: weighted Kendall", ("metric",), ((),))
    columns: dict[str, dict[str, str]] = {}
    for key, part in rows.groupby(["family", "subpool"], sort=False):
        family, subpool = map(str, key)
        if family not in FAMILIES:
            columns[subpool] = {str(m): number(v) for m, v in zip(part["metric"], part[PRIMARY], strict=True)}
    for family, title in FAMILIES.items():
        ends = rows[rows["family"] == family].groupby("metric")[PRIMARY].agg(["min", "max"])
        columns[title] = {str(m): f"{number(low)} to {number(high)}" for m, low, high in ends.itertuples()}
    ordered = study.agreement_of()
    groups = tuple(
        tuple(
            (str(m), *(column.get(str(m), UNDEFINED) for column in columns.values()))
            for m in ordered.index[ordered["kind"] == kind]
        )
        for kind in ("metric", "control")
    )
    notes = ("Mean over the targets on which a sub-pool has at least 3 sources.",)
    return Table("Within sub-pools: weighted Kendall", ("metric", *columns), groups, notes)


def rank_table(study: Study) -> Table:
    """The dispersion of the rank of each source between targets.

    Args:
        study: The result of `correlate`.

    Returns:
        One row per source, best mean rank first; at most 200.
    """
    dispersion = study.dispersion
    notes = (
        f"Mean standard deviation of a source's rank between targets: {number(dispersion.rank_sd)}; for random ranks: "
        f"{number(dispersion.rank_sd_random)}. The closer to 0, the better a fixed list of sources works.",
    )
    return frame_table(
        study.ranks.sort_values("mean_rank").head(MOST_ROWS),
        "Ranks of the sources by the truth (1 is best)",
        notes=notes,
    )


def gap_table(study: Study) -> Table:
    """Every missing or undefined score with its reason; at most 200, the CSV has all."""
    rows: pd.DataFrame = study.gaps
    notes = () if len(rows) <= MOST_ROWS else (f"The first {MOST_ROWS} of {len(rows)}; gaps.csv has all.",)
    return frame_table(rows.head(MOST_ROWS), f"Missing scores: {len(rows)}", notes=notes)


def _between(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return UNDEFINED
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _percent(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{100 * value:.0f}%"
