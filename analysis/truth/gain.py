"""Gain over training from scratch: what pre-training was worth on each target, by architecture.

The gain of a source is its Dice minus that of the network trained from scratch that has the same architecture and
width, with the same fine-tuning seeds. Where it is not clearly above 0, the sources are on average no better than
training from scratch. The interval is a percentile bootstrap over the pre-trained sources (the draws that all targets
share) and over the fine-tuning seeds, expanded for few sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.agreement.bootstrap import Array, Counts
from analysis.agreement.intervals import Interval, expanded_interval
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.pools import FEWEST_SOURCES, SCRATCH, Pool, Scope
from analysis.truth.seed_case_bootstrap import FEWEST_SEEDS, drawn_counts

GAIN_COLUMNS = ("scope", "target", "arch", "sources", "scratch_dice", "dice", "gain", "gain_low", "gain_high", "reason")
UNKNOWN_ARCH = "unknown"
NO_SCRATCH = "no scratch source of this architecture and width"


@dataclass(frozen=True)
class Gain:
    """The gain of the sources of one architecture on one target, or its mean over targets.

    Attributes:
        target: The target; empty for a mean.
        sources: The number of pre-trained sources whose architecture and width was also trained from scratch; for a
            mean, the mean number.
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


def gain_table(
    pools: Sequence[Pool], sources: pd.DataFrame, *, draws: SourceDraws, generator: np.random.Generator
) -> pd.DataFrame:
    """The gain over scratch of each architecture on each target, and its mean over targets.

    Args:
        pools: The pools, one per target.
        sources: Columns source, arch, width, length ("scratch" for a network that was not pre-trained).
        draws: The resamples of the sources.
        generator: Randomness of the resampled seeds.

    Returns:
        Columns `GAIN_COLUMNS`, Dice as fractions; `scope` is a `Scope`. The means over the targets that have a gain
        come first. Without a scratch source the gain is NaN with the reason; so it is for an architecture or width
        that is not recorded (NaN).
    """
    facts = sources.set_index("source")
    by_arch: dict[str, list[Gain]] = {}
    for pool in pools:
        for arch, gain in _gains(pool, facts, draws, generator):
            by_arch.setdefault(arch, []).append(gain)
    in_order = sorted(by_arch.items())
    rows = [_row(arch, _mean(gains), Scope.MEAN) for arch, gains in in_order]
    rows += [_row(arch, gain, Scope.TARGET) for arch, gains in in_order for gain in gains]
    return pd.DataFrame(rows, columns=list(GAIN_COLUMNS))


def _gains(
    pool: Pool, facts: pd.DataFrame, draws: SourceDraws, generator: np.random.Generator
) -> Iterator[tuple[str, Gain]]:
    here = facts.loc[list(pool.sources), ["arch", "width", "length"]].assign(place=range(len(pool.sources)))
    counts, seeds = draws.counts_of(pool.sources), _seed_weights(pool, len(draws.counts), generator)
    for arch, rows in here.groupby("arch", sort=True, dropna=False):
        trained = rows[rows["length"] != SCRATCH]
        untrained = rows[rows["length"] == SCRATCH].dropna(subset=["arch", "width"])  # unknown ones match no source
        scratch = {}
        for width in untrained["width"].unique():
            scratch[width] = pool.dice[untrained.loc[untrained["width"] == width, "place"]].mean(axis=0)
        if not trained.empty:
            yield UNKNOWN_ARCH if pd.isna(arch) else str(arch), _gain(pool, trained, scratch, counts, seeds)


def _gain(pool: Pool, trained: pd.DataFrame, scratch: Mapping[int, Array], counts: Counts, seeds: Array) -> Gain:
    """The gain of the sources of one architecture.

    Args:
        pool: The truth.
        trained: Columns width, place: the pre-trained sources, and where they are in the pool.
        scratch: Width -> (s,) float64, the Dice from scratch with each seed.
        counts: (b, n) int64, how often each source was drawn.
        seeds: (b, s) float64, the weight of each seed in a resample.
    """
    paired = trained[trained["width"].isin(scratch)]
    if paired.empty:
        nan = float("nan")
        return Gain(pool.target, 0, nan, nan, np.full(len(counts), nan), NO_SCRATCH)
    places, without = paired["place"].to_numpy(), len(trained) - len(paired)
    base = np.array([scratch[width] for width in paired["width"]])
    with np.errstate(invalid="ignore"):  # 0 / 0 in resamples without any of these sources
        drawn = counts[:, places] / counts[:, places].sum(axis=1, keepdims=True)
    return Gain(
        target=pool.target,
        sources=len(places),
        scratch=float(base.mean()),
        dice=float(pool.dice[places].mean()),
        resampled=(drawn @ (pool.dice[places] - base) * seeds).sum(axis=1),
        reason=f"no scratch source of the width of {without} of {len(trained)} sources" if without else "",
    )


def _seed_weights(pool: Pool, draws: int, generator: np.random.Generator) -> Array:
    """(draws, s) the weight of each seed in a resample; equal if there is a single seed."""
    seeds = len(pool.seeds)
    return np.ones((draws, 1)) if seeds < FEWEST_SEEDS else drawn_counts(seeds, draws, generator) / (seeds - 1)


def _mean(gains: Sequence[Gain]) -> Gain:
    """The mean over the targets with a gain."""
    known = [gain for gain in gains if gain.sources]
    lacking = [gain.target for gain in gains if not gain.sources]
    if not known:
        return gains[0]
    incomplete = ["some sources have no scratch source of their width"] if any(gain.reason for gain in known) else []
    return Gain(
        target="",
        sources=float(np.mean([gain.sources for gain in known])),
        scratch=float(np.mean([gain.scratch for gain in known])),
        dice=float(np.mean([gain.dice for gain in known])),
        resampled=np.mean([gain.resampled for gain in known], axis=0),
        reason="; ".join([*incomplete, *([f"without {', '.join(lacking)}: {NO_SCRATCH}"] if lacking else [])]),
    )


def _row(arch: str, gain: Gain, scope: Scope) -> dict[str, object]:
    interval = gain.interval
    row: dict[str, object] = {"scope": scope, "target": gain.target if scope == Scope.TARGET else "", "arch": arch}
    row |= {"sources": gain.sources, "scratch_dice": gain.scratch, "dice": gain.dice, "gain": gain.dice - gain.scratch}
    row |= {"gain_low": interval.low, "gain_high": interval.high}
    return row | {"reason": "; ".join(filter(None, (gain.reason, interval.reason if gain.sources else "")))}
