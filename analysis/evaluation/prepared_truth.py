"""Precomputed resamples of one pool's Dice, shared by all metrics.

There are resamples of the sources (bootstrap and jackknife), of the test cases and of the fine-tuning seeds
(`analysis.truth.seed_case_bootstrap`), and permutations of the Dice among the sources for the null. All pools take the
same way, whose time grows with the square of the number of sources and whose memory does not.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.bootstrap import Array, Counts
from analysis.agreement.measure_table import MEASURES, PRIMARY, of_resamples, of_rows
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.pools import Pool


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
        dice = self.pool.mean
        return Agreement(
            value={name: float(values[0]) for name, values in of_rows(MEASURES, scores, dice[None]).items()},
            resampled=of_resamples(MEASURES, scores, dice, self._counts),
            null=of_rows(PRIMARY, scores, self._permuted),
            jackknife=of_resamples(PRIMARY, scores, dice, self._without_one),
            redrawn={kind: of_rows(PRIMARY, scores, rows) for kind, rows in self.redrawn.items()},
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
    def _counts(self) -> Counts:
        return self.draws.counts_of(self.pool.sources)

    @cached_property
    def _without_one(self) -> Counts:
        return self.draws.without_one(self.pool.sources)

    @cached_property
    def _permuted(self) -> Array:
        return self.pool.mean[self.draws.permuted(self.pool.sources)]
