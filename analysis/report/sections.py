"""Parts of the page: tiles, intervals drawn in rows, tables of controls, stability and the pool, and limitations."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from analysis.evaluation.controls import static_leaderboard
from analysis.evaluation.kinds import shown_name
from analysis.evaluation.study import Study
from analysis.report.evidence import ReportEvidence
from analysis.tables.number_format import UNDEFINED, number, percent, plain, with_interval
from analysis.tables.study_tables import NAME, PRIMARY, STATIC, by_kind, comparison_rows, weighted_kendall_notes
from analysis.tables.tables import Column, Row, Table, table_of
from analysis.tables.truth_tables import one_seed_note
from analysis.truth.pools import NO_WIDTH, families_of
from analysis.truth.quality import Noise
from analysis.truth.truth_table import TUNE

MOST_NAMED = 6
MANY_SOURCES = 50  # from about here an interval of a rank measure is narrower than 0.2
WHOLE = partial(number, digits=0)
SOURCE_COLUMNS = (
    Column("source", "source"),
    Column("trained on", "task"),
    Column("network", lambda row: f"{row['arch']}, width {row['width']}" if row["width"] != NO_WIDTH else row["arch"]),
    Column("training", "length"),
    Column("parameters", "parameters", lambda count: plain(float(count))),
    Column("cases", "source_cases", WHOLE),
    Column("targets", "targets"),
)
OWN = 5  # the place in SOURCE_COLUMNS of the value on the source's own task
ARCHITECTURE = "architecture"  # the control of a single target
OTHERS = {STATIC: "the static leaderboard", ARCHITECTURE: "the architecture alone", "ccfv": "CC-FV"}
MOST_ROWS = 200  # maximum number of sources or gaps in a table; the CSV has all
ONE_SOURCE = "one_source"  # the division of sub-pools that share a column, "lowest to highest"


def _difference(row: Row) -> str:
    low, high = (number(row[end], sign="+") for end in ("low", "high"))
    return UNDEFINED if np.isnan(row["difference"]) else f"{number(row['difference'], sign='+')} [{low}, {high}]"


COMPARISON_COLUMNS = (
    NAME,
    Column(
        "difference [95%]",
        _difference,
        note="Paired difference of weighted Kendall, mean over targets, on the same bootstrap draws of the sources.",
    ),
    Column("share of draws it wins", "probability", percent),
    Column("p", "p", partial(number, digits=3), "p: two-sided."),
    Column("p (Holm)", "p_holm", partial(number, digits=3)),
    Column("p of many", "p_max", partial(number, digits=3), "p of many: corrected for all estimates by max-T."),
)


@dataclass(frozen=True)
class Tile:
    """A headline figure at the top of the page.

    Attributes:
        label: Its name.
        value: The figure as text.
        note: What it means.
    """

    label: str
    value: str
    note: str


def tiles(study: Study) -> tuple[Tile, ...]:
    """The tiles: reliability and ceiling; the best estimate, CC-FV and the static leaderboard if the study has them."""
    rows = study.agreement_of()
    shown = _truth_tiles(study)
    metrics = rows.index[(rows["kind"] == "metric") & rows[PRIMARY].notna()]
    chosen = {f"Best estimate: {name}": name for name in metrics[:1]} | {"CC-FV": "ccfv", "Static leaderboard": STATIC}
    for label, name in chosen.items():
        for row in rows[rows.index == name].to_dict("records"):
            share = float(row[f"{PRIMARY}_share"])
            note = "weighted Kendall" if np.isnan(share) else f"weighted Kendall, {percent(share)} of the ceiling"
            shown.append(Tile(label, with_interval(row, PRIMARY), note))
    return tuple(shown)


def _truth_tiles(study: Study) -> list[Tile]:
    """Reliability and ceiling, or that one seed gives none."""
    if one_seed := one_seed_note(study):
        return [Tile("Reliability and ceiling", "unknown", one_seed)]
    truth = dict(study.reliability_of())
    return [
        Tile(
            "Reliability of the truth",
            with_interval(truth, "kendall"),
            f"Kendall with the mean over as many other {truth['noise'] or Noise.SEEDS}",
        ),
        Tile("Ceiling", number(truth[f"{PRIMARY}_ceiling"]), "expected weighted Kendall of a perfect predictor"),
    ]


def glyphs(study: Study) -> dict[str, Row]:
    """Name in tables -> `low`, `value`, `high`, `ceiling` of its weighted Kendall, which the page draws on -1 to 1.

    Metrics with an undefined interval are left out; the ceiling may be NaN.
    """
    rows = study.agreement_of()
    names = {f"{PRIMARY}_low": "low", PRIMARY: "value", f"{PRIMARY}_high": "high", f"{PRIMARY}_ceiling": "ceiling"}
    drawn = rows[list(names)].rename(columns=names).astype(float)
    known = drawn.dropna(subset=["low", "value", "high"]).to_dict("index")
    return {shown_name(str(name)): row for name, row in known.items()}


def stability_tables(study: Study) -> list[Table]:
    """All tables of the section: comparisons, sub-pools, ranks of the sources, missing scores; some without rows."""
    return [
        *(comparison_table(study, other) for other in OTHERS if other != ARCHITECTURE or _compares(study, other)),
        subpool_table(study),
        rank_table(study),
        gap_table(study),
    ]


def _compares(study: Study, other: str) -> bool:
    return len(study.comparisons) > 0 and bool((study.comparisons["other"] == other).any())


def comparison_table(study: Study, other: str) -> Table:
    """Compare every metric with one other of `OTHERS`, in descending order of the difference."""
    rows = comparison_rows(study, other)
    ordered = rows.sort_values("difference", ascending=False) if len(rows) else rows
    return table_of(f"Against {OTHERS[other]}", COMPARISON_COLUMNS, [ordered], weighted_kendall_notes(study)[:1])


def subpool_table(study: Study) -> Table:
    """Weighted Kendall within sub-pools: one column per sub-pool, and one for leaving out one source at a time."""
    title, rows = "Within sub-pools: weighted Kendall", study.stability
    if rows.empty:
        return table_of(title, (NAME,), [()])
    values: dict[str, dict[str, str]] = {}
    for subpool, part in rows[rows["division"] != ONE_SOURCE].groupby("subpool", sort=False):
        values[str(subpool)] = dict(zip(part["metric"], map(number, part[PRIMARY]), strict=True))
    ends = rows[rows["division"] == ONE_SOURCE].groupby("metric")[PRIMARY].agg(["min", "max"])
    values["one source left out"] = {
        str(metric): f"{number(low)} to {number(high)}" for metric, low, high in ends.itertuples()
    }

    def column(label: str) -> Column:
        return Column(label, lambda row: values[label].get(row["metric"], UNDEFINED))

    groups = by_kind(study.agreement_of().reset_index())
    notes = ("Mean over the targets on which a sub-pool has at least 3 sources.", weighted_kendall_notes(study)[0])
    return table_of(title, (NAME, *map(column, values)), groups, notes)


def rank_table(study: Study) -> Table:
    """The dispersion of the rank of each source between targets, best mean rank first; at most 200 sources."""
    note = (
        f"Mean standard deviation of a source's rank between targets: {number(study.dispersion.rank_sd)}; for random "
        f"ranks: {number(study.dispersion.rank_sd_random)}. The closer to 0, the better a fixed list of sources works."
    )
    rows = study.ranks.sort_values("mean_rank").head(MOST_ROWS)
    return table_of("Ranks of the sources by the truth (1 is best)", _columns(rows), [rows], [note])


def gap_table(study: Study) -> Table:
    """Every missing or undefined score with its reason; at most 200, the CSV has all."""
    rows = study.gaps.head(MOST_ROWS)
    rows = rows.assign(metric=rows["metric"].map(shown_name))
    notes = () if len(study.gaps) <= MOST_ROWS else (f"The first {MOST_ROWS} of {len(study.gaps)}; gaps.csv has all.",)
    return table_of(f"Missing scores: {len(study.gaps)}", _columns(rows), [rows], notes)


def _columns(frame: pd.DataFrame) -> list[Column]:
    return [Column(str(name).replace("_", " "), str(name), plain) for name in frame.columns]


def source_table(study: Study) -> Table:
    """The pool, best source first: the properties of each source, and its mean Dice minus the pools' means."""
    above = static_leaderboard(study.pools)
    targets = Counter(name for pool in study.pools for name in pool.sources)
    rows = [{"source": name, "targets": targets[name], "above": gain} for name, gain in above.items()]
    ordered = pd.DataFrame(rows).sort_values("above", ascending=False, kind="stable")
    title = f"The pool: {len(rows)} sources"
    own = Column(f"own {study.measure_name}", "source_dice")
    above_pool = Column(f"{study.measure_name} above pool", "above", partial(number, digits=3, sign="+"))
    columns = (*SOURCE_COLUMNS[:OWN], own, *SOURCE_COLUMNS[OWN:], above_pool)
    return table_of(title, columns, [ordered.merge(study.sources, on="source", how="left")])


def limits(study: Study, evidence: ReportEvidence) -> Iterator[str]:
    """The limitations that the suite states, then those that follow from the study; a sentence or two each."""
    yield from evidence.limits
    scans = {pool.target: study.scans[pool.target] for pool in study.pools if pool.target in study.scans}
    for scan, count in Counter(scans.values()).items():
        if count > 1:
            targets = ", ".join(target for target, own in scans.items() if own == scan)
            yield (
                f"{count} of {len(study.pools)} targets ({targets}) derive from one {study.group} ({scan}). They are "
                f"not independent, so a mean by {study.group} is shown next to the mean by target."
            )
    if study.tune == TUNE:
        yield "The table does not say what was tuned; another choice may change the ranking."
    elif study.tune == "all":
        yield "Fine-tuning tuned all weights, with the budget in the settings; another budget may change the ranking."
    else:
        yield f"Fine-tuning tuned only: {study.tune}. The ranking may differ when all weights are tuned."
    most = max(len(pool.sources) for pool in study.pools)
    if most < MANY_SOURCES:
        yield (
            f"A pool has at most {most} sources, so intervals are wide; the order of a table says nothing about "
            "estimates whose intervals overlap."
        )
    pooled = {name for pool in study.pools for name in pool.sources}
    families = sorted({str(name) for source, name in families_of(study.sources).items() if source in pooled})
    if len(families) > 1:
        yield (
            f"The sources are of {len(families)} families ({', '.join(families)}). Intervals over sources hold for "
            "other sources of these families, not for other families; p-values of estimates are within families."
        )
    if weak := sorted(study.sources.loc[study.sources["length"].isin(("scratch", "short")), "source"]):
        names = ", ".join(weak[:MOST_NAMED]) + (", ..." if len(weak) > MOST_NAMED else "")
        yield (
            f"{len(weak)} sources are from scratch or hardly trained ({names}). They are easy to rank and flatter "
            "every estimate; the column 'without weak' leaves them out."
        )
