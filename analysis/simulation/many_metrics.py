"""The best of many metrics that tell nothing: how high it gets, and how often a p-value calls it better than chance.

The studies are those of `analysis.simulation.shared_targets` with a correlation of 0 between scores and Dice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.agreement.best_of_many import BestByChance, best_by_chance, max_t_p
from analysis.agreement.intervals import permutation_p
from analysis.agreement.measure_table import WEIGHTED_KENDALL, row_sides
from analysis.agreement.source_bootstrap import draw
from analysis.simulation.quantity import Array, Bounds, Effort, Part, Quantity, mean, rejections, share, source_names
from analysis.simulation.shared_targets import agreement_on_targets, shared_studies

QUANTILE_ERROR = 2.1  # sqrt(q (1 - q)) / density of a standard normal distribution at q = 0.95


@dataclass(frozen=True)
class BestOfMany:
    """Studies of metrics that tell nothing, measured by weighted Kendall.

    Attributes:
        sources: The number of sources.
        targets: The number of targets.
        metrics: The number of metrics.
        sharings: The correlations of a source's values on two targets, in [0, 1).
        rejected: Minimum and maximum share of p <= 0.05 of the best metric.
    """

    sources: int
    targets: int
    metrics: int
    sharings: Sequence[float]
    rejected: Bounds

    def parts(self) -> Mapping[str, Part]:
        """Sharing -> the simulation."""
        return {
            f"best of {self.metrics}; sharing {sharing:g}": partial(self._part, sharing) for sharing in self.sharings
        }

    def _part(self, sharing: float, effort: Effort, generator: np.random.Generator) -> list[Quantity]:
        shape = (self.metrics, self.targets, self.sources)
        highest, chance, corrected, plain = [], [], [], []
        for x, y in zip(*shared_studies(effort.pools, shape, sharing, 0.0, generator), strict=True):
            draws = draw(source_names(self.sources), resamples=effort.permutations, generator=generator)
            sides = [row_sides(dice[draws.permutations]) for dice in y]
            null = agreement_on_targets([WEIGHTED_KENDALL], x, sides)[WEIGHTED_KENDALL.name].mean(axis=1)
            of_targets = agreement_on_targets([WEIGHTED_KENDALL], x, [row_sides(dice[None]) for dice in y])
            values = of_targets[WEIGHTED_KENDALL.name].mean(axis=(1, 2))
            best = int(values.argmax())
            highest.append(float(values[best]))
            chance.append(best_by_chance(null))
            corrected.append(float(max_t_p(values, null)[best]))
            plain.append(permutation_p(float(values[best]), null[best]))
        return [
            *self._quantities(np.array(highest), chance),
            rejections("best, corrected (max-T)", corrected, self.rejected),
            rejections("best, not corrected", plain),
        ]

    def _quantities(self, agreement: Array, chance: Sequence[BestByChance]) -> list[Quantity]:
        """The agreement of the best (pools,), and what the permutations of each study say of it."""
        name = "weighted_kendall of the best"
        high = np.array([best.high for best in chance])
        error = QUANTILE_ERROR * float(agreement.std()) / float(np.sqrt(agreement.size))
        return [
            mean(f"{name}, mean", agreement),
            mean(f"{name}, mean by permutation", np.array([best.mean for best in chance])),
            Quantity(f"{name}, 95% point", float(np.quantile(agreement, 0.95)), error),
            mean(f"{name}, 95% point by permutation", high),
            share(f"{name} is above its 95% point by permutation", (agreement > high).astype(float), self.rejected),
        ]
