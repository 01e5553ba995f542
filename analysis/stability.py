"""Does the answer hang on who stands in the pool?

The mean agreement over targets is computed again on sub-pools:

    weak        without scratch and short sources
    largest     without the sources with the most weights
    arch        the sources of one architecture alone
    size        the sources of one architecture and width alone
    one_source  without one source after another (the scores as they are, nothing computed anew)

The controls that look at the truth are computed anew in each sub-pool but the last. A target counts where at least
three sources of the sub-pool stand in its pool.
"""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from analysis.agreement import FEWEST_SOURCES
from analysis.controls import with_controls
from analysis.evaluate import Evaluation
from analysis.measures import PRIMARY
from analysis.pools import Pool, same_size, without_weak

Row = dict[str, str | float]
COLUMNS = ("family", "subpool", "metric", "kind", "targets", "sources", *(m.name for m in PRIMARY), "reason")


def sub_pools(sources: pd.DataFrame, names: Collection[str]) -> dict[tuple[str, str], frozenset[str]]:
    """The sub-pools that are computed anew, by family and readable name; those that are all sources are left out.

    Args:
        sources: Columns source, arch, width, length, parameters.
        names: The sources of all pools.

    Returns:
        (family, name) -> the sources of it that are among the names.

    Example:
        >>> frame = pd.DataFrame({"source": list("abcd"), "arch": "unet", "width": 8, "length": "long",
        ...                       "parameters": [10, 20, 20, 30]})
        >>> [(key, sorted(kept)) for key, kept in sub_pools(frame, "abcd").items()]
        [(('largest', 'without the largest (d)'), ['a', 'b', 'c'])]
    """
    known = sources[sources["source"].isin(names)]
    everyone = frozenset(map(str, known["source"]))
    found = {("weak", "without scratch and short sources"): without_weak(known)}
    most = known["parameters"] == known["parameters"].max()
    largest = sorted(map(str, known.loc[most, "source"]))
    told = ", ".join(largest) if len(largest) <= 3 else f"{len(largest)} sources"
    found["largest", f"without the largest ({told})"] = everyone - set(largest)
    for arch, rows in known.groupby("arch", sort=True):
        found["arch", f"{arch} alone"] = frozenset(map(str, rows["source"]))
    for size, kept in same_size(known).items():
        found["size", f"{size} alone"] = kept
    return {key: kept for key, kept in found.items() if len(kept) >= FEWEST_SOURCES and kept != everyone}


def stability(
    pools: Sequence[Pool], scores: pd.DataFrame, sources: pd.DataFrame, *, generator: np.random.Generator
) -> list[Row]:
    """The mean agreement of every metric and control on every sub-pool but those without one source.

    Args:
        pools: The pools of the study proper.
        scores: The metrics' scores: source, target, metric, score, reason, seconds.
        sources: The frame of the sources.
        generator: For the random control.

    Returns:
        Rows with the columns `COLUMNS`.
    """
    names = {name for pool in pools for name in pool.sources}
    rows: list[Row] = []
    for (family, label), kept in sub_pools(sources, names).items():
        parts = [part for pool in pools if len((part := pool.only(kept)).sources) >= FEWEST_SOURCES]
        if parts:
            table = with_controls(parts, parts, scores, sources, generator=generator)
            rows += _means(parts, table, {"family": family, "subpool": label})
    return rows


def without_one_source(mean: Evaluation, *, names: Sequence[str], kind: str) -> list[Row]:
    """The mean agreement of one metric without one source after another.

    Args:
        mean: The mean over the targets.
        names: (N,) the sources of all pools, as the jackknife takes them.
        kind: "metric" or "control".

    Returns:
        N rows with the columns `COLUMNS`; `sources` is how many are left of all.
    """
    shared: Row = {"family": "one_source", "metric": mean.metric, "kind": kind}
    shared |= {"targets": mean.targets, "sources": len(names) - 1, "reason": mean.reason}
    values = zip(*(mean.agreement.jackknife[measure.name].tolist() for measure in PRIMARY), strict=True)
    return [
        shared | {"subpool": f"without {name}"} | dict(zip((m.name for m in PRIMARY), row, strict=True))
        for name, row in zip(names, values, strict=True)
    ]


_NOTHING = np.empty(0)


def _means(parts: Sequence[Pool], table: pd.DataFrame, shared: Row) -> list[Row]:
    rows: list[Row] = []
    for key, part in table.groupby(["metric", "kind"], sort=False):
        metric, kind = map(str, key)
        here = {str(target): rows.set_index("source")["score"] for target, rows in part.groupby("target")}
        values: dict[str, list[float]] = {measure.name: [] for measure in PRIMARY}
        for pool in parts:
            x = here[pool.target].reindex(pool.sources).to_numpy(dtype=np.float64) if pool.target in here else _NOTHING
            defined = x.size and bool(np.isfinite(x).all())
            for measure in PRIMARY:
                values[measure.name].append(float(measure.of_rows(x, pool.mean[None])[0]) if defined else np.nan)
        gaps = [pool.target for pool, value in zip(parts, values[PRIMARY[0].name], strict=True) if np.isnan(value)]
        row = shared | {"metric": metric, "kind": kind, "targets": len(parts)}
        row |= {"sources": float(np.mean([len(pool.sources) for pool in parts]))}
        row |= {name: float(np.mean(found)) for name, found in values.items()}
        rows.append(row | {"reason": "undefined on " + ", ".join(gaps) if gaps else ""})
    return rows
