"""The pool of sources of each target, and its sub-pools.

A pool contains every source that was fine-tuned on the target with every seed. Very weak sources (from scratch or
hardly trained) are easy to rank: they raise the reliability and flatter every metric, so all results are also computed
on the sub-pool without them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TRUTH_COLUMNS = ("source", "target", "seed", "tune", "dice")
SCRATCH = "scratch"
WEAK_LENGTHS = (SCRATCH, "short")
FEWEST_SOURCES = 3
NO_WIDTH = 0  # of a source whose architecture has no width that is known
OTHER_PATIENT = ", other patient"  # ends the `tune` of a pool whose Dice is that of another patient
MEASURE_NAMES = {"dice": "Dice", "auc": "AUC", "f1": "F1", "iou": "IoU", "nsd": "NSD"}
# What a row of agreement or reliability is: one target, the mean over targets, or the mean over scans
Scope = StrEnum("Scope", "TARGET MEAN MEAN_BY_SCAN")


@dataclass(frozen=True)
class Pool:
    """The truth of one target.

    Attributes:
        target: The task on which the sources were fine-tuned.
        tune: What was fine-tuned; ends in `OTHER_PATIENT` if the Dice is that of another patient.
        sources: (n,) names, sorted.
        seeds: (s,) the fine-tuning seeds, sorted.
        dice: (n, s) float64 in [0, 1].
        left_out: Source that has truth on this target but is not in its pool -> reason.
        cases: (n, s, m, k) float64, the Dice of each test case and foreground class, NaN if a case lacks the class;
            None if unknown.
    """

    target: str
    tune: str
    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    dice: NDArray[np.float64]
    left_out: Mapping[str, str] = field(default_factory=dict)
    cases: NDArray[np.float64] | None = None

    @property
    def mean(self) -> NDArray[np.float64]:
        """(n,) the mean Dice over the seeds: the truth that a metric has to rank."""
        return cast("NDArray[np.float64]", self.dice.mean(axis=1))

    @property
    def spread(self) -> float:
        """Best minus worst mean Dice."""
        return float(np.ptp(self.mean))

    @property
    def other_patient(self) -> bool:
        """Whether the Dice is that of another patient."""
        return self.tune.endswith(OTHER_PATIENT)

    def without_seed(self, seed: int) -> "Pool":
        """The same pool with only the other fine-tuning seeds, of its cases too."""
        kept = [place for place, own in enumerate(self.seeds) if own != seed]
        seeds = tuple(self.seeds[place] for place in kept)
        cases = None if self.cases is None else self.cases[:, kept]
        return replace(self, seeds=seeds, dice=self.dice[:, kept], cases=cases)

    def only(self, names: Collection[str]) -> "Pool":
        """The same pool with only the named sources."""
        kept = [place for place, name in enumerate(self.sources) if name in names]
        sources = tuple(self.sources[place] for place in kept)
        cases = None if self.cases is None else self.cases[kept]
        return replace(self, sources=sources, dice=self.dice[kept], cases=cases)


def measure_name(column: str) -> str:
    """What the values of a truth are called in tables, on pages and axes.

    Args:
        column: The column that has them.

    Example:
        >>> measure_name("dice"), measure_name("auc"), measure_name("surface_distance")
        ('Dice', 'AUC', 'surface_distance')
    """
    return MEASURE_NAMES.get(column.lower(), column)


def pools(truth: pd.DataFrame) -> tuple[Pool, ...]:
    """Build the pool of each target and each choice of what is tuned.

    The seeds of a target are those that at least half of its sources have, not counting sources without any Dice
    (skipped pairs). A source that lacks one of them, or whose Dice is NaN, is not in the pool and is named in
    `left_out`. A target without any Dice has no pool.

    Args:
        truth: Columns source, target, seed, tune, dice; Dice as a fraction. An optional column `reason` says why a Dice
            is NaN.

    Returns:
        The pools, by tune and target.

    Raises:
        ValueError: A column is missing, a row occurs twice, or a Dice is outside [0, 1].

    Example:
        >>> rows = [(s, "liver", seed, "last", d) for s, d in (("a", 0.2), ("b", 0.4)) for seed in (0, 1)]
        >>> [pool] = pools(pd.DataFrame(rows, columns=list(TRUTH_COLUMNS)))
        >>> pool.sources, pool.seeds, pool.mean.tolist()
        (('a', 'b'), (0, 1), [0.2, 0.4])
    """
    _check(truth)
    groups = truth.groupby(["tune", "target"], sort=True)
    return tuple(_pool(str(target), str(tune), rows) for (tune, target), rows in groups if rows["dice"].notna().any())


def main_tune(every: Collection[Pool]) -> str:
    """What was tuned on most targets (the first by name if tied); this choice is the main study.

    Pools of another patient do not count.
    """
    tunes = sorted(pool.tune for pool in every if not pool.other_patient)
    if not tunes:
        raise ValueError("`truth` must contain at least one row, got none")
    return max(dict.fromkeys(tunes), key=tunes.count)


def with_other_patient(truth: pd.DataFrame) -> pd.DataFrame:
    """Add the Dice on another patient as rows of their own, whose `tune` ends in `OTHER_PATIENT`.

    Args:
        truth: The columns `TRUTH_COLUMNS` and optionally external_dice, a fraction; NaN without another patient.

    Returns:
        The columns `TRUTH_COLUMNS`. A target has the further rows if any of its sources has a Dice on another patient.

    Example:
        >>> rows = [("a", "liver", 0, "all", 0.75, 0.5), ("a", "lung", 0, "all", 0.5, float("nan"))]
        >>> frame = with_other_patient(pd.DataFrame(rows, columns=[*TRUTH_COLUMNS, "external_dice"]))
        >>> frame[["target", "tune"]].to_numpy().tolist()
        [['liver', 'all'], ['lung', 'all'], ['liver', 'all, other patient']]
    """
    own = truth[list(TRUTH_COLUMNS)]
    if "external_dice" not in truth:
        return own
    rows = truth[truth.groupby(["target", "tune"])["external_dice"].transform("count") > 0]
    other = rows[list(TRUTH_COLUMNS)].assign(dice=rows["external_dice"], tune=rows["tune"] + OTHER_PATIENT)
    return pd.concat([own, other], ignore_index=True)


def own_tune(tune: str) -> str:
    """What was tuned, of a pool of another patient too.

    Example:
        >>> own_tune("all, other patient"), own_tune("all")
        ('all', 'all')
    """
    return tune.removesuffix(OTHER_PATIENT)


def place_name(target: str, tune: str, *, main: str) -> str:
    """The name of a target in tables, with what was tuned or whose Dice it is where that is not the main study's.

    Args:
        target: The target.
        tune: The `tune` of its pool.
        main: What is tuned in the main study.

    Example:
        >>> [place_name("liver", tune, main="all") for tune in ("all", "all, other patient", "head")]
        ['liver', 'liver (other patient)', 'liver (head)']
    """
    return target if tune == main else f"{target} ({tune.removeprefix(main + ', ')})"


def without_weak(sources: pd.DataFrame) -> frozenset[str]:
    """The names of the sources that are neither from scratch nor pre-trained only briefly."""
    return frozenset(sources.loc[~sources["length"].isin(WEAK_LENGTHS), "source"])


def families_of(sources: pd.DataFrame) -> "pd.Series[str]":
    """The family of each source, indexed by source: the column `family`, or the architecture where it is empty.

    Example:
        >>> frame = pd.DataFrame({"source": ["a", "b"], "arch": ["unet", "vnet"], "family": ["", "v"]})
        >>> families_of(frame).to_dict()
        {'a': 'unet', 'b': 'v'}
    """
    table = sources.set_index("source")
    if "family" not in table:
        return table["arch"]
    family = table["family"].astype(object)  # a column without any entry is read as numbers
    return family.where(family.fillna("") != "", table["arch"])


def same_size(sources: pd.DataFrame) -> dict[str, frozenset[str]]:
    """Groups of at least three sources with the same architecture and width; keys such as "dynunet, width 8"."""
    groups = sources[sources["width"] != NO_WIDTH].groupby(["arch", "width"], sort=True)["source"]
    large = {key: frozenset(names) for key, names in groups if len(names) >= FEWEST_SOURCES}
    return {f"{arch}, width {width}": names for (arch, width), names in large.items()}


def _check(truth: pd.DataFrame) -> None:
    if missing := [name for name in TRUTH_COLUMNS if name not in truth.columns]:
        raise ValueError(f"`truth` must have the columns {', '.join(TRUTH_COLUMNS)}, missing {', '.join(missing)}")
    twice = truth[truth.duplicated(["source", "target", "seed", "tune"])]
    if len(twice):
        first = twice.iloc[0]
        raise ValueError(
            f"`truth` must contain each source, target, seed and tune once, got {first['source']} on {first['target']} "
            f"with seed {first['seed']} and tune {first['tune']} again"
        )
    if bool(((truth["dice"] < 0) | (truth["dice"] > 1)).any()):
        raise ValueError(
            f"`truth` must give Dice as fractions in [0, 1], got {truth['dice'].min():g} to {truth['dice'].max():g}"
        )


def _pool(target: str, tune: str, rows: pd.DataFrame) -> Pool:
    table = rows.pivot_table(index="source", columns="seed", values="dice", dropna=False)
    table = table.loc[:, table.dropna(how="all").notna().mean() >= 0.5]  # of the sources that were not skipped
    gaps = table[table.isna().any(axis=1)]
    reasons = _reasons(rows)
    left_out = {
        str(source): f"no Dice with seed {', '.join(map(str, row.index[row.isna()]))}"
        + (f" ({reasons[str(source)]})" if str(source) in reasons else "")
        for source, row in gaps.iterrows()
    }
    kept = table.dropna()
    seeds = tuple(int(seed) for seed in kept.columns)
    return Pool(target, tune, tuple(map(str, kept.index)), seeds, kept.to_numpy(dtype=np.float64), left_out)


def _reasons(rows: pd.DataFrame) -> dict[str, str]:
    """Source -> why it has no Dice, if the truth gives a reason."""
    if "reason" not in rows:
        return {}
    pairs = zip(rows["source"].astype(str), rows["reason"].fillna("").astype(str), strict=True)
    return {source: reason for source, reason in pairs if reason}
