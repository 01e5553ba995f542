"""Precomputed resamples of one pool's Dice, shared by all metrics.

There are resamples of the sources (bootstrap and jackknife), of the test cases and of the fine-tuning seeds
(`analysis.truth.seed_case_bootstrap`), and permutations of the Dice among the sources for the null. All pools take the
same way, whose time grows with the square of the number of sources and whose memory does not.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.bootstrap import Array, Side
from analysis.agreement.measure_table import MEASURES, PRIMARY, Measure, measured, resample_sides, row_sides
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.pools import Pool

MOST_PAIRS = 2**26  # 256 MB of signs in float32: 2,000 permutations of 180 sources


@dataclass(frozen=True)
class Agreement:
    """The agreement between one metric and the truth, with its resamples.

    Attributes:
        value: Measure -> agreement.
        resampled: Measure -> (b,) the agreement on each bootstrap resample of the sources, of those asked for.
        null: Primary measure -> (b,) the agreement with the Dice permuted among the sources, within families if there
            are several.
        jackknife: Primary measure -> (N,) the agreement without each source of the union in turn.
        redrawn: "cases" and "seeds" -> primary measure -> (b',) the agreement with the truth of resampled cases or
            seeds; empty if unknown.
        of_families: Primary measure -> (b',) the agreement on resamples of whole families; empty if there is one.
    """

    value: Mapping[str, float]
    resampled: Mapping[str, Array]
    null: Mapping[str, Array]
    jackknife: Mapping[str, Array]
    redrawn: Mapping[str, Mapping[str, Array]]
    of_families: Mapping[str, Array]


@dataclass(frozen=True)
class PreparedTruth:
    """The truth of one pool and its resamples.

    Attributes:
        pool: The pool of n sources.
        draws: The draws of the union of all pools.
        redrawn: "cases" and "seeds" -> (b', n) the mean Dice with resampled cases or seeds; either key may be missing.
        resampled: The measures that are measured on the resamples of the sources.
    """

    pool: Pool
    draws: SourceDraws
    redrawn: Mapping[str, Array] = field(default_factory=dict)
    resampled: Sequence[Measure] = MEASURES

    def only(self, kept: NDArray[np.bool_]) -> "PreparedTruth":
        """Restrict to the sources in the mask `kept`."""
        if kept.all():
            return self
        redrawn = {kind: dice[:, kept] for kind, dice in self.redrawn.items()}
        return replace(self, pool=self.pool.only(np.array(self.pool.sources)[kept]), redrawn=redrawn)

    def agreement(self, scores: Array, *, freely: bool = False) -> Agreement:
        """Measure the agreement of a metric.

        Args:
            scores: (n,) float64, finite and not all equal.
            freely: Whether the null permutes among all sources, for controls, which may tell families apart.
        """
        value = measured(MEASURES, scores, row_sides(self.pool.mean[None]))
        return Agreement(
            value={name: float(values[0]) for name, values in value.items()},
            resampled=measured(self.resampled, scores, self._resamples),
            null=measured(PRIMARY, scores, self._freely_permuted if freely else self._permuted),
            jackknife=measured(PRIMARY, scores, self._without_one),
            redrawn={kind: measured(PRIMARY, scores, rows) for kind, rows in self._redrawn.items()},
            of_families=measured(PRIMARY, scores, self._of_families) if self._of_families else {},
        )

    def undefined(self) -> Agreement:
        """An agreement of NaN."""

        def blank(number: int, measures: Collection[str] = tuple(m.name for m in PRIMARY)) -> dict[str, Array]:
            return dict.fromkeys(measures, np.full(number, np.nan))

        draws = len(self.draws.counts)
        return Agreement(
            value=dict.fromkeys((measure.name for measure in MEASURES), float("nan")),
            resampled=blank(draws, [measure.name for measure in self.resampled]),
            null=blank(draws),
            jackknife=blank(len(self.draws.names)),
            redrawn={kind: blank(len(rows)) for kind, rows in self.redrawn.items()},
            of_families={} if self.draws.of_families is None else blank(len(self.draws.of_families)),
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
    def _freely_permuted(self) -> Iterable[Side]:
        if not self.draws.several_families:
            return self._permuted
        return _Rows(self.pool.mean[self.draws.permuted(self.pool.sources, freely=True)])

    @cached_property
    def _of_families(self) -> Sequence[Side]:
        counts = self.draws.of_families
        return (
            ()
            if counts is None
            else tuple(resample_sides(self.pool.mean, counts[:, self.draws.places(self.pool.sources)]))
        )

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
