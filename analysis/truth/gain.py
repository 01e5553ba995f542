"""Gain over training from scratch: what pre-training was worth on each target, by architecture.

The gain of a source is its Dice minus that of the network trained from scratch that has the same architecture and
width, with the same fine-tuning seeds. Where it is not clearly above 0, the sources are on average no better than
training from scratch. It is given for all pre-trained sources and for those that were trained on several classes, over
all architectures and for each. A source does not count where the budget is too short for its network from scratch
(`analysis.truth.scratch_budget`). The interval is a percentile bootstrap over the pre-trained sources (the draws that
all targets share) and over the fine-tuning seeds, expanded for few sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.agreement.bootstrap import Array, Counts
from analysis.agreement.intervals import Interval, expanded_interval
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.pools import FEWEST_SOURCES, SCRATCH, Pool, Scope
from analysis.truth.scratch_budget import Place
from analysis.truth.seed_case_bootstrap import FEWEST_SEEDS, drawn_counts

GAIN_COLUMNS = (
    "scope", "target", "arch", "sources_of", "sources", "scratch_dice", "dice",
    "gain", "gain_low", "gain_high", "reason",
)  # fmt: skip
Size = tuple[str, int]  # architecture and width
UNKNOWN_ARCH = "unknown"
EVERY = "all"  # architectures, or sources whatever they were trained on
SEVERAL = "several classes"  # sources that were trained on at least two classes at once
NO_SCRATCH = "no scratch source of this architecture and width"
NOT_COUNTED = "some sources are not counted"


@dataclass(frozen=True)
class Gain:
    """The gain of some sources on one target, or its mean over targets.

    Attributes:
        target: The target; empty for a mean.
        sources: The number of pre-trained sources that are counted; for a mean, the mean number.
        scratch: The mean Dice from scratch, over those sources.
        dice: The mean Dice of those sources.
        resampled: (b,) the gain in resamples of sources and seeds; NaN where no source was drawn.
        reason: Why there is no gain, or which sources are not counted.
    """

    target: str
    sources: float
    scratch: float
    dice: float
    resampled: Array
    reason: str

    @property
    def interval(self) -> Interval:
        """The 95% interval over sources and seeds."""
        if self.sources < FEWEST_SOURCES:
            number = f"{self.sources:.3g} source" + ("" if self.sources == 1 else "s")
            return Interval(np.nan, np.nan, f"{number}, an interval needs {FEWEST_SOURCES}")
        return expanded_interval(self.resampled, self.sources)


@dataclass(frozen=True)
class _Reference:
    """What the sources of one target are compared with.

    Attributes:
        pool: The truth.
        scratch: Architecture and width -> (s,) float64, the Dice from scratch with each seed.
        starved: Target, architecture and width whose sources are not counted -> the reason.
        counts: (b, n) int64, how often each source was drawn.
        seeds: (b, s) float64, the weight of each seed in a resample.
    """

    pool: Pool
    scratch: Mapping[Size, Array]
    starved: Mapping[Place, str]
    counts: Counts
    seeds: Array


def gain_table(
    pools: Sequence[Pool],
    sources: pd.DataFrame,
    *,
    draws: SourceDraws,
    generator: np.random.Generator,
    starved: Mapping[Place, str] | None = None,
) -> pd.DataFrame:
    """The gain over scratch on each target, over all architectures and for each, and its mean over targets.

    Args:
        pools: The pools, one per target.
        sources: Columns source, arch, width, length ("scratch" for a network that was not pre-trained), and optionally
            classes, the number of foreground classes of the pre-training.
        draws: The resamples of the sources.
        generator: Randomness of the resampled seeds.
        starved: Target, architecture and width whose sources are not counted -> the reason.

    Returns:
        Columns `GAIN_COLUMNS`, Dice as fractions; `scope` is a `Scope`. `arch` is `EVERY` for all architectures, and
        `sources_of` is `EVERY` or `SEVERAL`, without rows if no source was trained on several classes. The means over
        the targets that have a gain come first. Without a scratch source the gain is NaN with the reason; so it is for
        an architecture or width that is not recorded (NaN).
    """
    facts = sources.set_index("source")
    by_group: dict[tuple[str, str], list[Gain]] = {}
    for pool in pools:
        for group, gain in _gains(pool, facts, draws, generator, starved or {}):
            by_group.setdefault(group, []).append(gain)
    in_order = sorted(by_group.items(), key=lambda item: (item[0][0] != EVERY, item[0]))
    rows = [_row(group, _mean(gains), Scope.MEAN) for group, gains in in_order]
    rows += [_row(group, gain, Scope.TARGET) for group, gains in in_order for gain in gains]
    return pd.DataFrame(rows, columns=list(GAIN_COLUMNS))


def _gains(
    pool: Pool, facts: pd.DataFrame, draws: SourceDraws, generator: np.random.Generator, starved: Mapping[Place, str]
) -> Iterator[tuple[tuple[str, str], Gain]]:
    """Architecture and kind of sources, each of which may be `EVERY` -> their gain on one target."""
    here = facts.loc[list(pool.sources)].assign(place=range(len(pool.sources)))
    here = here.assign(classes=here.get("classes", np.nan))
    counts, seeds = draws.counts_of(pool.sources), _seed_weights(pool, len(draws.counts), generator)
    reference = _Reference(pool, _scratch_dice(pool, here), starved, counts, seeds)
    trained = here[here["length"] != SCRATCH]
    names = trained["arch"].astype(object).where(trained["arch"].notna(), UNKNOWN_ARCH)
    several = trained["classes"] >= 2
    for arch in [EVERY, *sorted(names.unique())] if len(trained) else []:
        own = trained if arch == EVERY else trained[names == arch]
        yield (arch, EVERY), _gain(own, reference)
        if several[own.index].any():
            yield (arch, SEVERAL), _gain(own[several[own.index]], reference)


def _scratch_dice(pool: Pool, here: pd.DataFrame) -> dict[Size, Array]:
    """Architecture and width -> (s,) float64, the Dice from scratch with each seed."""
    known = here[here["length"] == SCRATCH].dropna(subset=["arch", "width"])  # unknown ones match no source
    return {
        _size(arch, width): pool.dice[rows["place"]].mean(axis=0)
        for (arch, width), rows in known.groupby(["arch", "width"])
    }


def _gain(trained: pd.DataFrame, reference: _Reference) -> Gain:
    """The gain of some sources.

    Args:
        trained: Columns arch, width, place: the pre-trained sources, and where they are in the pool.
        reference: What they are compared with.
    """
    pool, scratch, starved, counts = reference.pool, reference.scratch, reference.starved, reference.counts
    sizes = [_size(*size) for size in zip(trained["arch"], trained["width"], strict=True)]
    unpaired = sum(size not in scratch for size in sizes)
    short = [starved.get((pool.target, *size), "") for size in sizes if size in scratch]
    counted = [size in scratch and (pool.target, *size) not in starved for size in sizes]
    reason = "; ".join(_uncounted(trained, unpaired, short))
    if not any(counted):
        nan = float("nan")
        return Gain(pool.target, 0, nan, nan, np.full(len(counts), nan), reason if any(short) else NO_SCRATCH)
    places = trained.loc[counted, "place"].to_numpy()
    base = np.array([scratch[size] for size, kept in zip(sizes, counted, strict=True) if kept])
    with np.errstate(invalid="ignore"):  # 0 / 0 in resamples without any of these sources
        drawn = counts[:, places] / counts[:, places].sum(axis=1, keepdims=True)
    return Gain(
        target=pool.target,
        sources=len(places),
        scratch=float(base.mean()),
        dice=float(pool.dice[places].mean()),
        resampled=(drawn @ (pool.dice[places] - base) * reference.seeds).sum(axis=1),
        reason=reason,
    )


def _size(arch: object, width: Any) -> Size:
    """Architecture and width; those that are not recorded (NaN) match no others."""
    return str(arch), -1 if pd.isna(width) else int(width)


def _uncounted(trained: pd.DataFrame, unpaired: int, short: Sequence[str]) -> Iterator[str]:
    """Which sources are not counted, and why."""
    if unpaired:
        size = "width" if len(set(trained["arch"])) == 1 else "architecture and width"
        yield f"no scratch source of the {size} of {unpaired} of {len(trained)} sources"
    for why in dict.fromkeys(filter(None, short)):
        yield f"{short.count(why)} of {len(trained)} sources not counted: {why}"


def _seed_weights(pool: Pool, draws: int, generator: np.random.Generator) -> Array:
    """(draws, s) the weight of each seed in a resample; equal if there is a single seed."""
    seeds = len(pool.seeds)
    return np.ones((draws, 1)) if seeds < FEWEST_SEEDS else drawn_counts(seeds, draws, generator) / (seeds - 1)


def _mean(gains: Sequence[Gain]) -> Gain:
    """The mean over the targets with a gain."""
    known = [gain for gain in gains if gain.sources]
    if not known:
        return gains[0]
    lacking: dict[str, list[str]] = {}
    for gain in gains:
        if not gain.sources:
            lacking.setdefault(gain.reason, []).append(gain.target)
    incomplete = [NOT_COUNTED] if any(gain.reason for gain in known) else []
    without = [f"without {', '.join(targets)}: {reason}" for reason, targets in lacking.items()]
    return Gain(
        target="",
        sources=float(np.mean([gain.sources for gain in known])),
        scratch=float(np.mean([gain.scratch for gain in known])),
        dice=float(np.mean([gain.dice for gain in known])),
        resampled=np.mean([gain.resampled for gain in known], axis=0),
        reason="; ".join([*incomplete, *without]),
    )


def _row(group: tuple[str, str], gain: Gain, scope: Scope) -> dict[str, object]:
    interval, (arch, kind) = gain.interval, group
    row: dict[str, object] = {"scope": scope, "target": gain.target if scope == Scope.TARGET else "", "arch": arch}
    row |= {"sources_of": kind, "sources": gain.sources}
    row |= {"scratch_dice": gain.scratch, "dice": gain.dice, "gain": gain.dice - gain.scratch}
    row |= {"gain_low": interval.low, "gain_high": interval.high}
    return row | {"reason": "; ".join(filter(None, (gain.reason, interval.reason if gain.sources else "")))}
