"""Load the runs that check a study: longer training from scratch, and sources that are pre-trained again."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from omegaconf import DictConfig

from analysis.truth.scratch_budget import LONGER_COLUMNS
from benchmark.jobs.suite_settings import LONGER, STAGE_OF, longer_of, repeated_of
from benchmark.tracking import Store
from benchmark.tracking.records import Row, newest, truth_frame

PLACES = {"pretrain": (), "truth": ("target", "seed"), "score": ("target",)}  # stage -> params that tell its runs apart
LENGTHS = ("trainer.budget.steps", "trainer.budget.epochs")  # params of a truth run


@dataclass(frozen=True)
class Repeat:
    """The rows of a study with repeats of one seed in place of the sources that are repeated.

    Attributes:
        rows: Stage -> its rows; a repeat has the name of the source that it replaces.
        replaced: The sources that are replaced.
        reasons: Why others are not replaced, a sentence each.
    """

    rows: Mapping[str, Sequence[Row]]
    replaced: tuple[str, ...]
    reasons: tuple[str, ...]


def further_rows(
    store: Store, cfg: DictConfig, keys: Mapping[str, Sequence[str]] | None = None
) -> dict[str, list[Row]]:
    """Load the finished jobs that check the study; each kind of `STAGE_OF` may have none.

    Args:
        store: The store.
        cfg: The command's config; its suite says which longer and repeated trainings it has.
        keys: Kind -> keys of the jobs to load; by default the newest ones that the suite has.
    """
    if keys is not None:
        used = {stage for kind, stage in STAGE_OF.items() if keys.get(kind)}
        jobs = {stage: store.finished(stage) for stage in used}
        return {
            kind: [jobs[stage][key] for key in keys.get(kind, ()) if key in jobs[stage]]
            for kind, stage in STAGE_OF.items()
        }
    suite = cfg.suite
    longer, repeated = longer_of(suite.get("longer")), repeated_of(suite.get("repeated"))
    wanted = {
        kind: {
            "source": set(suite.sources) if kind == LONGER else set(repeated.repeats if repeated else ()),
            "target": set(suite.targets),
            "seed": set(map(str, (longer.seeds if longer else ()) if kind == LONGER else suite.seeds)),
        }
        for kind in STAGE_OF
    }
    wanted["repeated_pretrain"] = {"source": wanted["repeated_pretrain"]["source"]}
    return {
        kind: newest(
            row
            for row in (store.finished(stage).values() if wanted[kind]["source"] else ())
            if row.tags.get("variant", "") == (LONGER if kind == LONGER else "")
            and all(row.params[name] in allowed for name, allowed in wanted[kind].items() if name in row.params)
        )
        for kind, stage in STAGE_OF.items()
    }


def longer_frame(rows: Sequence[Row], study: Sequence[Row]) -> pd.DataFrame:
    """The runs of longer training, with their steps as a multiple of the study's.

    Args:
        rows: The runs of longer training.
        study: The truth of the study.

    Returns:
        Columns `analysis.truth.scratch_budget.LONGER_COLUMNS`; runs that are no longer than the study's are left out.
    """
    lengths = {_pair(row): _length(row) for row in study}
    factors = [_length(row) / lengths.get(_pair(row), math.nan) for row in rows]
    frame = truth_frame(rows).assign(factor=factors)
    return frame.loc[frame["factor"] > 1, list(LONGER_COLUMNS)].reset_index(drop=True)


def with_repeats(
    rows: Mapping[str, Sequence[Row]], further: Mapping[str, Sequence[Row]], repeats: Mapping[str, str]
) -> Repeat:
    """Put repeats in place of the sources that they repeat.

    A repeat is used if it has a truth for every target and seed of the source, and scores for every target. A source
    that the study lacks is not repeated.

    Args:
        rows: Stage -> the rows of the study, of the truth those of the main study.
        further: The result of `further_rows`.
        repeats: Source -> the name of its repeat.
    """
    repeats = {source: repeat for source, repeat in repeats.items() if _places("pretrain", rows["pretrain"], source)}
    known = {stage: further.get(f"repeated_{stage}", ()) for stage in PLACES}
    lacking = {
        source: [
            stage for stage in PLACES if _places(stage, rows[stage], source) - _places(stage, known[stage], repeat)
        ]
        for source, repeat in repeats.items()
    }
    replaced = {repeat: source for source, repeat in repeats.items() if not lacking[source]}
    given = {
        stage: [
            *(row for row in rows[stage] if row.params["source"] not in replaced.values()),
            *(
                _renamed(row, replaced[row.params["source"]])
                for row in known[stage]
                if row.params["source"] in replaced
            ),
        ]
        for stage in PLACES
    }
    reasons = [f"{repeats[source]} lacks runs of {', '.join(stages)}." for source, stages in lacking.items() if stages]
    return Repeat(given, tuple(sorted(replaced.values())), tuple(reasons))


def _pair(row: Row) -> tuple[str, str, str]:
    return row.params["source"], row.params["target"], row.params["tune"]


def _length(row: Row) -> float:
    return next((float(row.params[name]) for name in LENGTHS if name in row.params), math.nan)


def _places(stage: str, rows: Sequence[Row], source: str) -> set[tuple[str, ...]]:
    """What tells the runs of a source in one stage apart."""
    return {tuple(row.params[name] for name in PLACES[stage]) for row in rows if row.params["source"] == source}


def _renamed(row: Row, source: str) -> Row:
    return replace(row, params={**row.params, "source": source})
