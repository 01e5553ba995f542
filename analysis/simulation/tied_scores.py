"""Scores that are tied within groups, as those of a control that only knows the family of a source.

`scipy.stats.weightedtau` ranks tied sources by the other variable, so that its mean is above 0 even if the scores are
independent of the Dice: the chance level of a tied control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from analysis.agreement.measure_table import KENDALL, WEIGHTED_KENDALL, measured, row_sides
from analysis.simulation.quantity import Effort, Part, Quantity, mean


@dataclass(frozen=True)
class TiedScores:
    """Pools with one random score for each group of sources.

    Attributes:
        pools: The sizes of the groups of each kind of pool.
    """

    pools: Sequence[Sequence[int]]

    def parts(self) -> Mapping[str, Part]:
        """Groups -> the simulation."""
        return {f"groups of {', '.join(map(str, sizes))}": partial(_part, sizes) for sizes in self.pools}


def _part(sizes: Sequence[int], effort: Effort, generator: np.random.Generator) -> list[Quantity]:
    codes = np.repeat(np.arange(len(sizes)), sizes)
    scores = generator.standard_normal((effort.pools, len(sizes)))[:, codes]
    dice = generator.standard_normal((effort.pools, len(codes)))
    values = measured([KENDALL, WEIGHTED_KENDALL], scores, row_sides(dice))
    return [mean(f"{name} by chance", value) for name, value in values.items()]
