"""Scores against the truth: the agreement of every metric and control on every target, with all that qualifies it."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.controls import SCORE_COLUMNS
from analysis.evaluate import Missing
from analysis.pools import main_tune, pools, without_weak
from analysis.study import ALL, WITHOUT_WEAK, Study
from analysis.subset import Settings, rows_of

SOURCE_COLUMNS = ("source", "task", "arch", "width", "length", "parameters", "source_dice", "source_cases")
RESAMPLES = 2000  # the ends of a 95% interval move by about 0.01 from seed to seed


def correlate(
    truth: pd.DataFrame,
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    scans: Mapping[str, str] | None = None,
    missing: Missing = "nan",
) -> Study:
    """Compare the scores of every metric, and of every control, with the truth.

    Args:
        truth: Columns source, target, seed, tune, dice (a fraction): one row a fine-tuning.
        scores: Columns source, target, metric, score, reason, seconds: one row a score; NaN with its reason.
        sources: Columns source, task, arch, width, length (scratch, short or long), parameters, source_dice,
            source_cases: one row a source.
        resamples: How many bootstrap draws and permutations.
        seed: The seed of all draws.
        scans: Target -> the scan that its cases come from; with it a mean by scan stands beside the mean by target.
        missing: "nan": a metric without a score for a source of a pool has no agreement on that target;
            "leave_out": it is compared on the other sources. Both are said in the reason.

    Returns:
        The study.

    Raises:
        ValueError: A frame lacks a column or holds a row twice, a Dice is no fraction, a source is not described.
    """
    _check(scores, "scores", SCORE_COLUMNS, ["source", "target", "metric"])
    _check(sources, "sources", SOURCE_COLUMNS, ["source"])
    every = pools(truth)
    tune = main_tune(every)
    strong = without_weak(sources)
    names = frozenset(name for pool in every for name in pool.sources)
    settings = Settings(scores, sources, tune, dict(scans or {}), missing, resamples)
    generators = np.random.default_rng(seed).spawn(2)
    found = [
        rows_of([pool.only(kept) for pool in every], subset=subset, settings=settings, generator=generator)
        for (subset, kept), generator in zip({ALL: names, WITHOUT_WEAK: strong}.items(), generators, strict=True)
    ]
    return Study(
        tune=tune,
        pools=tuple(pool for pool in every if pool.tune == tune),
        beside=tuple(pool for pool in every if pool.tune != tune),
        scores=found[0].scores,
        sources=sources,
        agreement=pd.DataFrame([row for rows in found for row in rows.agreement]),
        reliability=pd.DataFrame([row for rows in found for row in rows.reliability]),
        scans=settings.scans,
        resamples=resamples,
        seed=seed,
    )


def _check(frame: pd.DataFrame, name: str, columns: Sequence[str], key: list[str]) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise ValueError(f"`{name}` must have the columns {', '.join(columns)}, lacks {', '.join(missing)}")
    twice = frame[frame.duplicated(key)]
    if len(twice):
        first = ", ".join(map(str, twice.iloc[0][key]))
        raise ValueError(f"`{name}` must hold each {', '.join(key)} once, got {first} again")
