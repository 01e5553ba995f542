"""Which cases a resample holds, shared by all sources and estimates so that their differences are paired.

With at least 6 cases the resamples are bootstrap draws; with 2 to 5 each leaves one case out; one case has none.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Kind: TypeAlias = Literal["bootstrap", "leave-one-out", "none"]

# Below it a bootstrap over cases says little, and its resamples often hold a case or two alone
FEWEST_CASES = 6


@dataclass(frozen=True)
class Resamples:
    """Resamples of the cases.

    Attributes:
        kind: How they were made.
        counts: (b, m) int64, how often each case stands in each.
    """

    kind: Kind
    counts: NDArray[np.int64]


def resample_cases(m: int, *, draws: int, generator: np.random.Generator) -> Resamples:
    """Resamples of m cases.

    Args:
        m: The number of cases.
        draws: How many bootstrap resamples.
        generator: Where the randomness comes from.

    Returns:
        The resamples; `draws` of them, or m, or none.

    Example:
        >>> resample_cases(3, draws=100, generator=np.random.default_rng(0)).counts.tolist()
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """
    if m < 2 or draws < 1:
        return Resamples("none", np.zeros((0, m), dtype=np.int64))
    if m < FEWEST_CASES:
        return Resamples("leave-one-out", 1 - np.eye(m, dtype=np.int64))
    counts = generator.multinomial(m, np.full(m, 1 / m), size=draws)
    return Resamples("bootstrap", counts.astype(np.int64))
