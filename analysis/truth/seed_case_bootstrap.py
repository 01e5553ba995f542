"""Bootstrap resamples of the truth of a pool over test cases, and over fine-tuning seeds.

A draw of cases is shared by all sources and seeds of the target, and a draw of seeds by all sources: effects common to
all sources (a hard case, an order of batches) do not change the ranking. Of s seeds, s - 1 are drawn with replacement,
and likewise of m cases, so that the variance of a mean is that of s seeds and not too small by (s - 1) / s, which for
two seeds would be half. Targets are drawn independently.

Resampled seeds add noise to the noise of the truth, so these draws agree slightly less with any scores than the truth
does: an interval over seeds shows how much a figure varies, and the ceiling shows how much noise costs every metric.

References:
    J. N. K. Rao, C. F. J. Wu, "Resampling Inference with Complex Survey Data", JASA 83(401), 1988,
    doi 10.1080/01621459.1988.10478591.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.truth.pools import Pool

Array = NDArray[np.float64]
CASE_COLUMNS = ("source", "target", "seed", "tune", "case", "class", "dice")
FEWEST_CASES = 6  # with fewer cases too many resamples consist of nearly one case
FEWEST_SEEDS = 2


def with_cases(pools: Sequence[Pool], cases: pd.DataFrame) -> tuple[Pool, ...]:
    """Add the Dice of each test case to the pools.

    Args:
        pools: The pools.
        cases: Columns `CASE_COLUMNS`: one row per fine-tuning, test case and class; NaN if a case lacks the class.

    Returns:
        The pools; unchanged if their sources and seeds do not all have the same cases.

    Raises:
        ValueError: A column is missing.
    """
    if missing := [name for name in CASE_COLUMNS if name not in cases.columns]:
        raise ValueError(f"`cases` must have the columns {', '.join(CASE_COLUMNS)}, missing {', '.join(missing)}")
    groups = dict(iter(cases.groupby(["target", "tune"])))
    return tuple(
        replace(pool, cases=_values(pool, groups[key])) if (key := (pool.target, pool.tune)) in groups else pool
        for pool in pools
    )


def redrawn_dice(pool: Pool, *, draws: int, generator: np.random.Generator) -> dict[str, Array]:
    """The mean Dice of each source on resampled cases, and with resampled seeds.

    Args:
        pool: The truth.
        draws: The number of draws of each kind.
        generator: Source of randomness.

    Returns:
        "cases" (with at least 6 test cases) and "seeds" (with at least 2) -> (draws, n) float64.
    """
    resampled = {}
    if pool.cases is not None and pool.cases.shape[2] >= FEWEST_CASES:
        resampled["cases"] = _over_cases(pool.cases.mean(axis=1), draws, generator)
    seeds = len(pool.seeds)
    if seeds >= FEWEST_SEEDS:
        resampled["seeds"] = drawn_counts(seeds, draws, generator) @ pool.dice.T / (seeds - 1)
    return resampled


def _over_cases(dice: Array, draws: int, generator: np.random.Generator) -> Array:
    """(draws, n) the mean over classes of the mean over the drawn cases that have the class; dice: (n, m, k)."""
    counts = drawn_counts(dice.shape[1], draws, generator)
    total = np.einsum("bm,nmk->bnk", counts, np.nan_to_num(dice))
    cases = np.einsum("bm,nmk->bnk", counts, np.isfinite(dice).astype(np.float64))
    drawn = cases > 0
    means = np.divide(total, cases, out=np.zeros_like(total), where=drawn)
    with np.errstate(invalid="ignore"):
        over_classes: Array = means.sum(axis=2) / drawn.sum(axis=2)
    return over_classes


def drawn_counts(size: int, draws: int, generator: np.random.Generator) -> Array:
    """How often each of several seeds or cases is drawn: one fewer than there are, with replacement.

    Args:
        size: Their number, at least 2.
        draws: The number of draws.
        generator: Source of randomness.

    Returns:
        (draws, size) float64, whole numbers; rows sum to `size` - 1.

    Example:
        >>> drawn_counts(4, 2, np.random.default_rng(0)).sum(axis=1).tolist()
        [3.0, 3.0]
    """
    return generator.multinomial(size - 1, np.full(size, 1 / size), size=draws).astype(np.float64)


def _values(pool: Pool, rows: pd.DataFrame) -> Array | None:
    """(n, s, m, k), or None if the rows are not the full product of sources, seeds, cases and classes."""
    keys = [rows["case"].unique(), rows["class"].unique()]
    index = pd.MultiIndex.from_product([pool.sources, pool.seeds, *keys])
    dice = rows.set_index(["source", "seed", "case", "class"])["dice"]
    if dice.index.has_duplicates or not index.isin(dice.index).all():
        return None
    shape = (len(pool.sources), len(pool.seeds), *map(len, keys))
    return dice.reindex(index).to_numpy(dtype=np.float64).reshape(shape)
