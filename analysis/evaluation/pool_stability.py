"""Sensitivity of the results to the composition of the pool.

The mean agreement over targets is computed again on sub-pools:

    weak        without scratch and short sources
    largest     without the sources with the most parameters
    arch        only the sources of one architecture
    size        only the sources of one architecture and width
    one_source  without each source in turn (scores are not recomputed)

Controls that use the truth are recomputed in every sub-pool except `one_source`. Short fine-tuning with one seed is
judged by the other seeds (`analysis.evaluation.short_fine_tuning`). A target counts if its pool contains
at least three sources of the sub-pool.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.agreement.measure_table import PRIMARY, Measure
from analysis.agreement.rank_measures import FEWEST_SOURCES
from analysis.evaluation.controls import CONTROLS, with_controls
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.short_fine_tuning import ShortFineTuning, with_short_fine_tuning
from analysis.truth.pools import Pool, same_size, without_weak

Array = NDArray[np.float64]
Row = dict[str, str | float]
Judged = tuple[Array, Array]  # scores and the Dice that each is judged by, both (s, n)
COLUMNS = ("division", "subpool", "metric", "kind", "targets", "sources", *(m.name for m in PRIMARY), "reason")


def sub_pools(sources: pd.DataFrame, names: Collection[str]) -> dict[tuple[str, str], frozenset[str]]:
    """The sub-pools except `one_source`, by division and readable name; sub-pools equal to the whole pool are left out.

    Args:
        sources: Columns source, arch, width, length, parameters.
        names: The sources of all pools.

    Example:
        >>> frame = pd.DataFrame({"source": list("abcd"), "arch": "unet", "width": 8, "length": "long",
        ...                       "parameters": [10, 20, 20, 30]})
        >>> [(key, sorted(kept)) for key, kept in sub_pools(frame, list("abcd")).items()]
        [(('largest', 'without the largest (d)'), ['a', 'b', 'c'])]
    """
    known = sources[sources["source"].isin(names)]
    everyone = frozenset(map(str, known["source"]))
    divisions = {("weak", "without scratch and short sources"): without_weak(known)}
    largest = sorted(map(str, known.loc[known["parameters"] == known["parameters"].max(), "source"]))
    label = ", ".join(largest) if len(largest) <= 3 else f"{len(largest)} sources"
    divisions["largest", f"without the largest ({label})"] = everyone - set(largest)
    for arch, rows in known.groupby("arch", sort=True):
        divisions["arch", f"{arch} only"] = frozenset(map(str, rows["source"]))
    for size, kept in same_size(known).items():
        divisions["size", f"{size} only"] = kept
    return {key: kept for key, kept in divisions.items() if len(kept) >= FEWEST_SOURCES and kept != everyone}


def stability(
    pools: Sequence[Pool],
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    generator: np.random.Generator,
    short: ShortFineTuning,
    controls: Collection[str] = CONTROLS,
) -> list[Row]:
    """The mean agreement of every metric and control on every sub-pool except `one_source`.

    Args as in `analysis.evaluation.controls.with_controls`, and `short`, the Dice on validation cases during
    fine-tuning. Rows with the columns `COLUMNS`.
    """
    names = {name for pool in pools for name in pool.sources}
    rows: list[Row] = []
    for (division, label), kept in sub_pools(sources, names).items():
        parts = [part for pool in pools if len((part := pool.only(kept)).sources) >= FEWEST_SOURCES]
        if parts:
            given = with_short_fine_tuning(scores, parts, short)
            table = with_controls(parts, parts, given, sources, generator=generator, controls=controls)
            rows += _means(parts, table, short, {"division": division, "subpool": label})
    return rows


def without_one_source(mean: Evaluation, *, names: Sequence[str], kind: str) -> list[Row]:
    """The mean agreement of one metric without each source in turn.

    Args:
        mean: The mean over the targets.
        names: (N,) the sources of all pools, in the order of the jackknife.
        kind: Its kind, see `analysis.evaluation.kinds`.

    Returns:
        N rows with the columns `COLUMNS`; `sources` is the number of sources left.
    """
    shared: Row = {
        "division": "one_source",
        "metric": mean.metric,
        "kind": kind,
        "targets": mean.targets,
        "sources": len(names) - 1,
        "reason": mean.reason,
    }
    values = zip(*(mean.agreement.jackknife[measure.name].tolist() for measure in PRIMARY), strict=True)
    return [
        shared | {"subpool": f"without {name}"} | dict(zip((m.name for m in PRIMARY), row, strict=True))
        for name, row in zip(names, values, strict=True)
    ]


def _means(parts: Sequence[Pool], table: pd.DataFrame, short: ShortFineTuning, shared: Row) -> list[Row]:
    # pivot_table would drop a metric without any score
    wide = table.pivot(index=["target", "source"], columns="metric", values="score")  # noqa: PD010
    blocks = [wide.loc[pool.target].reindex(pool.sources).to_numpy(dtype=np.float64) for pool in parts]
    place = {str(metric): at for at, metric in enumerate(wide.columns)}
    by_seed = [_by_other_seeds(pool, short) for pool in parts]
    rows: list[Row] = []
    for metric, kind in table.drop_duplicates("metric")[["metric", "kind"]].itertuples(index=False):
        at_once = [(block[None, :, place[metric]], pool.mean[None]) for block, pool in zip(blocks, parts, strict=True)]
        judged = [own.get(metric, once) for own, once in zip(by_seed, at_once, strict=True)]
        values = {measure.name: [_value(measure, *pair) for pair in judged] for measure in PRIMARY}
        gaps = [pool.target for pool, value in zip(parts, values[PRIMARY[0].name], strict=True) if np.isnan(value)]
        row = shared | {
            "metric": metric,
            "kind": kind,
            "targets": len(parts),
            "sources": float(np.mean([len(pool.sources) for pool in parts])),
            **{name: float(np.mean(by_pool)) for name, by_pool in values.items()},
        }
        rows.append(row | {"reason": "undefined on " + ", ".join(gaps) if gaps else ""})
    return rows


def _by_other_seeds(pool: Pool, short: ShortFineTuning) -> Mapping[str, Judged]:
    """Score of short fine-tuning -> for each seed its scores and the mean Dice of the other seeds."""
    others = [pool.without_seed(seed).mean for seed in pool.seeds] if len(pool.seeds) > 1 else []
    dice = np.array(others).reshape(len(others), len(pool.sources))
    return {name: (short.scores(pool, name).T[: len(dice)], dice) for name in short.names}


def _value(measure: Measure, scores: Array, dice: Array) -> float:
    """The mean of the measure over the rows of scores and Dice; NaN without any, or if a source has no score."""
    if not len(scores) or not np.isfinite(scores).all():
        return float("nan")
    return float(measure.of_rows(scores if len(scores) > 1 else scores[0], dice).mean())
