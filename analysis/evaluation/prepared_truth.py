"""Precomputed resamples of one pool's Dice, shared by all metrics.

There are resamples of the sources (bootstrap and jackknife), of the test cases and of the fine-tuning seeds
(`analysis.truth.seed_case_bootstrap`), and permutations of the Dice among the sources for the null. All pools take the
same way, whose time grows with the square of the number of sources and whose memory does not.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.bootstrap import Array, Side
from analysis.agreement.measure_table import MEASURES, PRIMARY, measured, resample_sides, row_sides
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.pools import Pool

MOST_PAIRS = 2**26  # 256 MB of signs in float32: 2,000 permutations of 180 sources


@dataclass(frozen=True)
class Agreement:
    """The agreement between one metric and the truth, with its resamples.

    Attributes:
        value: Measure -> agreement.
        resampled: Measure -> (b,) the agreement on each bootstrap resample of the sources.
        null: Primary measure -> (b,) the agreement with the Dice permuted among the sources.
        jackknife: Primary measure -> (N,) the agreement without each source of the union in turn.
        redrawn: "cases" and "seeds" -> primary measure -> (b',) the agreement with the truth of resampled cases or
            seeds; empty if unknown.
    """

    value: Mapping[str, float]
    resampled: Mapping[str, Array]
    null: Mapping[str, Array]
    jackknife: Mapping[str, Array]
    redrawn: Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class PreparedTruth:
    """The truth of one pool and its resamples.

    Attributes:
        pool: The pool of n sources.
        draws: The draws of the union of all pools.
        redrawn: "cases" and "seeds" -> (b', n) the mean Dice with resampled cases or seeds; either key may be missing.
    """

    pool: Pool
    draws: SourceDraws
    redrawn: Mapping[str, Array] = field(default_factory=dict)

    def only(self, kept: NDArray[np.bool_]) -> "PreparedTruth":
        """Restrict to the sources in the mask `kept`."""
        if kept.all():
            return self
        redrawn = {kind: dice[:, kept] for kind, dice in self.redrawn.items()}
        return replace(self, pool=self.pool.only(np.array(self.pool.sources)[kept]), redrawn=redrawn)

    def agreement(self, scores: Array) -> Agreement:
        """Measure the agreement of a metric; scores: (n,) float64, finite and not all equal."""
        value = measured(MEASURES, scores, row_sides(self.pool.mean[None]))
        return Agreement(
            value={name: float(values[0]) for name, values in value.items()},
            resampled=measured(MEASURES, scores, self._resamples),
            null=measured(PRIMARY, scores, self._permuted),
            jackknife=measured(PRIMARY, scores, self._without_one),
            redrawn={kind: measured(PRIMARY, scores, rows) for kind, rows in self._redrawn.items()},
        )

    def undefined(self) -> Agreement:
        """An agreement of NaN."""

        def blank(number: int, measures: Collection[str] = tuple(m.name for m in PRIMARY)) -> dict[str, Array]:
            return dict.fromkeys(measures, np.full(number, np.nan))

        names, draws = [measure.name for measure in MEASURES], len(self.draws.counts)
        return Agreement(
            value=dict.fromkeys(names, float("nan")),
            resampled=blank(draws, names),
            null=blank(draws),
            jackknife=blank(len(self.draws.names)),
            redrawn={kind: blank(len(rows)) for kind, rows in self.redrawn.items()},
        )

    @cached_property
    def _resamples(self) -> Iterable[Side]:
        return tuple(resample_sides(self.pool.mean, self.draws.counts_of(self.pool.sources)))

    @cached_property
    def _without_one(self) -> Iterable[Side]:
        return tuple(resample_sides(self.pool.mean, self.draws.without_one(self.pool.sources)))

    @cached_property
    def _permuted(self) -> Iterable[Side]:
        return _Rows(self.pool.mean[self.draws.permuted(self.pool.sources)])

    @cached_property
    def _redrawn(self) -> Mapping[str, Iterable[Side]]:
        return {kind: _Rows(dice) for kind, dice in self.redrawn.items()}


class _Rows:
    """Rows of Dice in blocks, kept with their pairs for the next metric if these fit in memory."""

    def __init__(self, dice: Array) -> None:
        self._dice = dice
        self._kept = tuple(row_sides(dice)) if dice.size * dice.shape[1] <= MOST_PAIRS else None

    def __iter__(self) -> Iterator[Side]:
        return iter(self._kept or row_sides(self._dice))
