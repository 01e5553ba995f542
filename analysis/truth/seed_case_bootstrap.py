"""What the truth of a pool could have been with other test cases, and with other fine-tuning seeds.

One draw of cases serves every source and seed of the target, and one draw of seeds every source: what all sources share
(a hard case, a lucky order of batches) moves no ranking, as it should not. Of s seeds s - 1 are drawn with replacement,
and likewise of m cases, so that the variance of a mean is that of s seeds and not too small by (s - 1) / s, which for
two seeds would be half. Targets are drawn apart.

Other seeds are more noise on top of the noise that is there, so these draws agree a little less with everything than
the truth does; an interval over seeds says how far a figure moves, and the ceiling says what the noise takes from all.

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
FEWEST_CASES = 6  # of fewer cases too many resamples are nearly one case
FEWEST_SEEDS = 2


def with_cases(pools: Sequence[Pool], cases: pd.DataFrame) -> tuple[Pool, ...]:
    """The pools with the Dice of each test case.

    Args:
        pools: The pools.
        cases: One row a fine-tuning, test case and class: the columns `CASE_COLUMNS`; NaN where a case lacks the class.

    Returns:
        The pools; one for which a source or seed has no cases, or not those of the others, stays without.

    Raises:
        ValueError: A column is missing.
    """
    if missing := [name for name in CASE_COLUMNS if name not in cases.columns]:
        raise ValueError(f"`cases` must have the columns {', '.join(CASE_COLUMNS)}, lacks {', '.join(missing)}")
    groups = dict(iter(cases.groupby(["target", "tune"])))
    return tuple(
        replace(pool, cases=_values(pool, groups[key])) if (key := (pool.target, pool.tune)) in groups else pool
        for pool in pools
    )


def luck(pool: Pool, *, draws: int, generator: np.random.Generator) -> dict[str, Array]:
    """The mean Dice of each source with other cases, and with other seeds.

    Args:
        pool: The truth.
        draws: How many of each.
        generator: Where the randomness comes from.

    Returns:
        "cases" (with at least 6 test cases) and "seeds" (with at least 2) -> (draws, n) float64.
    """
    found = {}
    if pool.cases is not None and pool.cases.shape[2] >= FEWEST_CASES:
        found["cases"] = _over_cases(pool.cases.mean(axis=1), draws, generator)
    seeds = len(pool.seeds)
    if seeds >= FEWEST_SEEDS:
        found["seeds"] = _counts(seeds, draws, generator) @ pool.dice.T / (seeds - 1)
    return found


def _over_cases(dice: Array, draws: int, generator: np.random.Generator) -> Array:
    """(draws, n) the mean over classes of the mean over the drawn cases that hold the class; dice: (n, m, k)."""
    counts = _counts(dice.shape[1], draws, generator)
    total = np.einsum("bm,nmk->bnk", counts, np.nan_to_num(dice))
    held = np.einsum("bm,nmk->bnk", counts, np.isfinite(dice).astype(np.float64))
    drawn = held > 0
    means = np.divide(total, held, out=np.zeros_like(total), where=drawn)
    with np.errstate(invalid="ignore"):
        over_classes: Array = means.sum(axis=2) / drawn.sum(axis=2)
    return over_classes


def _counts(size: int, draws: int, generator: np.random.Generator) -> Array:
    return generator.multinomial(size - 1, np.full(size, 1 / size), size=draws).astype(np.float64)


def _values(pool: Pool, rows: pd.DataFrame) -> Array | None:
    """(n, s, m, k), or None where the rows are not the full product of sources, seeds, cases and classes."""
    keys = [rows["case"].unique(), rows["class"].unique()]
    index = pd.MultiIndex.from_product([pool.sources, pool.seeds, *keys])
    held = rows.set_index(["source", "seed", "case", "class"])["dice"]
    if held.index.has_duplicates or not index.isin(held.index).all():
        return None
    shape = (len(pool.sources), len(pool.seeds), *map(len, keys))
    return held.reindex(index).to_numpy(dtype=np.float64).reshape(shape)
