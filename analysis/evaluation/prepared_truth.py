"""Precomputed resamples of one pool's Dice, shared by all metrics.

There are resamples of the sources (bootstrap and jackknife), of the test cases and of the fine-tuning seeds
(`analysis.truth.seed_case_bootstrap`), and permutations of the Dice among the sources for the null. Above `LARGE_POOL`
sources the source bootstrap and the null are linearised (`analysis.evaluation.large`, `analysis.evaluation.permuted`),
and cases and seeds are not resampled: their variance is negligible next to that of the sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.measure_table import LARGE_POOL, MEASURES, PRIMARY
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.evaluation.large import leave_one_out, linearised
from analysis.evaluation.permuted import Moved, moved, permuted_measures
from analysis.evaluation.ranked import Ranked

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """The agreement between one metric and the truth, with its resamples.

    Attributes:
        value: Measure -> agreement.
        resampled: Measure -> (b,) the agreement on each bootstrap resample of the sources.
        null: Primary measure -> (b,) the agreement with the Dice permuted among the sources.
        jackknife: Primary measure -> (N,) the agreement without each source of the union in turn.
        luck: "cases" and "seeds" -> primary measure -> (b',) the agreement with the truth of resampled cases or seeds;
            empty if unknown.
    """

    value: Mapping[str, float]
    resampled: Mapping[str, Array]
    null: Mapping[str, Array]
    jackknife: Mapping[str, Array]
    luck: Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Yardstick:
    """The mean Dice of one pool and its resamples.

    Attributes:
        names: (n,) the sources.
        dice: (n,) float64, their mean Dice.
        draws: The draws of the union of all pools.
        luck: "cases" and "seeds" -> (b', n) the mean Dice with resampled cases or seeds; either key may be missing.
    """

    names: tuple[str, ...]
    dice: Array
    draws: SourceDraws
    luck: Mapping[str, Array]

    def only(self, kept: NDArray[np.bool_]) -> "Yardstick":
        """Restrict to the sources in the mask `kept`."""
        if kept.all():
            return self
        names = tuple(name for name, keep in zip(self.names, kept, strict=True) if keep)
        return Yardstick(names, self.dice[kept], self.draws, {kind: dice[:, kept] for kind, dice in self.luck.items()})

    def agreement(self, scores: Array) -> Agreement:
        """Measure the agreement of a metric.

        Args:
            scores: (n,) float64, finite and not all equal.

        Returns:
            The agreement.
        """
        value = {measure.name: float(measure.of_rows(scores, self.dice[None])[0]) for measure in MEASURES}
        if len(scores) > LARGE_POOL:
            return self._large(value, scores)
        return Agreement(
            value=value,
            resampled={measure.name: measure.of_resamples(scores, self.dice, self._counts) for measure in MEASURES},
            null={measure.name: measure.of_rows(scores, self._permuted) for measure in PRIMARY},
            jackknife={measure.name: measure.of_resamples(scores, self.dice, self._without_one) for measure in PRIMARY},
            luck={
                kind: {measure.name: measure.of_rows(scores, dice) for measure in PRIMARY}
                for kind, dice in self.luck.items()
            },
        )

    def undefined(self) -> Agreement:
        """An agreement of NaN."""
        blank = np.full(len(self.draws.counts), np.nan)
        return Agreement(
            value={measure.name: float("nan") for measure in MEASURES},
            resampled={measure.name: blank for measure in MEASURES},
            null={measure.name: blank for measure in PRIMARY},
            jackknife={measure.name: np.full(len(self.draws.names), np.nan) for measure in PRIMARY},
            luck={
                kind: {measure.name: np.full(len(dice), np.nan) for measure in PRIMARY}
                for kind, dice in self.luck.items()
            },
        )

    def _large(self, value: Mapping[str, float], scores: Array) -> Agreement:
        ranked = Ranked(scores)
        leave = leave_one_out(ranked, self._ranked)
        drawn = linearised(value, leave, self._deviations)
        return Agreement(
            value=value,
            resampled={
                measure.name: drawn[measure.name]
                if measure.name in drawn
                else measure.of_top(scores, self.dice, self._counts)
                for measure in MEASURES
            },
            null=permuted_measures(ranked, self._moved),
            jackknife={measure.name: self._in_union(value[measure.name], leave[measure.name]) for measure in PRIMARY},
            luck={},
        )

    def _in_union(self, value: float, leave: Array) -> Array:
        """(N,) the jackknife over the union: leaving out a source that is not in the pool changes nothing."""
        jackknife = np.full(len(self.draws.names), value)
        jackknife[self.draws.places(self.names)] = leave
        return jackknife

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return self.draws.counts_of(self.names)

    @cached_property
    def _without_one(self) -> NDArray[np.int64]:
        return self.draws.without_one(self.names)

    @cached_property
    def _permuted(self) -> Array:
        return self.dice[self.draws.permuted(self.names)]

    @cached_property
    def _deviations(self) -> Array:
        return self._counts.astype(np.float64) - 1

    @cached_property
    def _ranked(self) -> Ranked:
        return Ranked(self.dice)

    @cached_property
    def _moved(self) -> Moved:
        return moved(self._ranked, self.draws.permuted(self.names))
