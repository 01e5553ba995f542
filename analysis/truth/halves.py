"""Split halves of the truth: by fine-tuning seeds, and by seeds and test cases.

Halves of the seeds share the test cases, so their agreement does not show what other test cases would change; halves of
both share neither. Each split gives the mean Dice of every source in the two halves. The variance of the noise follows
from a two-way random-effects model of seeds and cases, for each source separately and without what all sources share:
with the same seed they share batches and head initialisation, on the same case its difficulty.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import cast

import numpy as np
from numpy.typing import NDArray

from analysis.agreement.bootstrap import Array, Counts
from analysis.agreement.measure_table import Measure, measured, resample_sides, row_sides

MOST_SPLITS = 500  # 12 seeds have 462 splits; of more, evenly spaced splits are used
CROSSINGS = 200  # random splits of seeds and cases
CROSSED_UNITS = 4  # simulated parts of the noise: a half then is two of them, and there are three splits
FEWEST_CASES = 4  # with fewer a half is a single case


@dataclass(frozen=True)
class Halves:
    """The Dice of n sources in the two halves of h splits.

    Attributes:
        first: (h, n) float64, the mean Dice in the first half of each split.
        second: (h, n) float64, in the second half.
        variance: (n,) float64, the variance of the noise in the mean over all seeds and cases.
        half_variance: (n,) float64, the variance of the noise in a half, the mean of both halves.
        units: The number of equal, independent parts with which the noise of the halves can be simulated.
        unit_variance: (n,) float64, the variance of the noise in such a part.
    """

    first: Array
    second: Array
    variance: Array
    half_variance: Array
    units: int
    unit_variance: Array

    def agreement(self, measures: Sequence[Measure]) -> dict[str, float]:
        """The mean agreement of the two halves over all splits; NaN if a split is undefined."""
        values = measured(measures, self.first, row_sides(self.second))
        return {name: float(value.mean()) for name, value in values.items()}

    def resampled(self, measures: Sequence[Measure], counts: Counts) -> dict[str, Array]:
        """The mean agreement over all splits on each resample of the sources.

        Args:
            measures: The measures.
            counts: (b, n) int64, how often each source was drawn.

        Returns:
            Measure -> (b,) float64, NaN if a split is undefined.
        """
        splits = zip(self.first, self.second, strict=True)
        values = [measured(measures, first, resample_sides(second, counts)) for first, second in splits]
        return {measure.name: np.mean([value[measure.name] for value in values], axis=0) for measure in measures}

    @property
    def lengthening(self) -> float:
        """The variance of the noise in a half over that in the whole; 2 if there is no noise."""
        whole = float(self.variance.mean())
        return float(self.half_variance.mean()) / whole if whole else 2.0

    def some(self, number: int) -> "Halves":
        """The first splits only."""
        return replace(self, first=self.first[:number], second=self.second[:number])


def seed_halves(dice: Array) -> Halves:
    """All splits of the seeds into halves.

    Args:
        dice: (n, s) float64, finite, n >= 2 and s >= 2.

    Returns:
        The halves.

    Example:
        >>> seed_halves(np.array([[0.1, 0.3], [0.4, 0.4]])).first.tolist()
        [[0.1, 0.4]]
    """
    s = dice.shape[1]
    masks, variance = np.array(splits(s)), seed_variances(dice)
    sizes = np.array([s // 2, s - s // 2])
    return Halves(
        first=masks @ dice.T / sizes[0],
        second=~masks @ dice.T / sizes[1],
        variance=variance / s,
        half_variance=variance * (1 / sizes).mean(),
        units=s,
        unit_variance=variance,
    )


def crossed_halves(cases: Array, *, generator: np.random.Generator, number: int = CROSSINGS) -> Halves:
    """Random splits of both the seeds and the test cases; the halves share neither a seed nor a case.

    Args:
        cases: (n, s, m, k) float64, the Dice of n >= 2 sources with s >= 2 seeds on m >= 2 cases and k classes, NaN
            where a case lacks the class.
        generator: Source of randomness.
        number: The number of splits.

    Returns:
        The halves.
    """
    values = case_values(cases)
    _, s, m = values.shape
    seeds = generator.permuted(np.tile(np.arange(s) < s // 2, (number, 1)), axis=1)
    drawn = generator.permuted(np.tile(np.arange(m) < m // 2, (number, 1)), axis=1)

    def means(of_seeds: NDArray[np.bool_], of_cases: NDArray[np.bool_]) -> Array:
        weights = (of_seeds[:, :, None] & of_cases[:, None, :]).reshape(number, -1).astype(np.float64)
        return cast("Array", weights @ values.reshape(len(values), -1).T / weights.sum(axis=1, keepdims=True))

    noise = NoiseVariances.of(values)
    half = (noise.of_mean(s // 2, m // 2) + noise.of_mean(s - s // 2, m - m // 2)) / 2
    return Halves(
        first=means(seeds, drawn),
        second=means(~seeds, ~drawn),
        variance=noise.of_mean(s, m),
        half_variance=half,
        units=CROSSED_UNITS,
        unit_variance=half * CROSSED_UNITS / 2,
    )


def case_values(cases: Array) -> Array:
    """The contribution of each case to the Dice; its mean over cases is the Dice, the mean over classes of class means.

    For source and seed i, case j contributes the Dice plus what its classes are above their means,

        value_ij = sum_k w_jk (d_ijk - mean_ik) + mean over k of mean_ik,    w_jk = m / (K m_k)

    with mean_ik the mean over the m_k of m cases that have class k, w_jk = 0 for the others, and K the number of
    classes. Without subtracting mean_ik, a case that lacks a class would differ from the others even if all cases were
    alike. The variance over cases is too low for a class that few cases have, by the factor (1 - 1/m_k) / (1 - 1/m): a
    class that only one case has contributes no variance.

    Args:
        cases: (n, s, m, k) float64, NaN where a case lacks the class.

    Returns:
        (n, s, m) float64; NaN if no class counts (`classes_of_cases`).

    Example:
        >>> case_values(np.array([[[[0.5, 0.25], [0.75, np.nan]]]])).tolist()
        [[[0.375, 0.5]]]
    """
    present = classes_of_cases(cases)
    kept = present.any(axis=0)
    if not kept.any():
        return np.full(cases.shape[:-1], np.nan)
    present, dice = present[:, kept], cases[..., kept]
    means = dice.mean(axis=2, keepdims=True, where=present)
    above = np.where(present, (dice - means) / present.mean(axis=0), 0.0)
    return cast("Array", (above + means).mean(axis=-1))


def classes_of_cases(cases: Array) -> NDArray[np.bool_]:
    """(m, k) bool, whether a class of a case counts: it has a Dice for every source and seed."""
    return cast("NDArray[np.bool_]", np.isfinite(cases).all(axis=(0, 1)))


def seed_variances(dice: Array) -> Array:
    """The variance of each source's Dice between seeds, after removing the mean over sources at each seed.

    Args:
        dice: (n, s) float64, n >= 2 and s >= 2.

    Returns:
        (n,) float64, in squared Dice.

    Example:
        >>> bool((seed_variances(np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])) < 1e-30).all())
        True
    """
    n, s = dice.shape
    rest = dice - dice.mean(axis=1, keepdims=True) - dice.mean(axis=0, keepdims=True) + dice.mean()
    return cast("Array", (rest**2).sum(axis=1) / (s - 1) * n / (n - 1))


@dataclass(frozen=True)
class NoiseVariances:
    """The variances of seeds, cases and their interaction, of each source: a two-way random-effects model.

    Attributes:
        seeds: (n,) float64, in squared Dice; an estimate may be negative.
        cases: (n,) float64; an estimate may be negative.
        both: (n,) float64, of seed and case together.
    """

    seeds: Array
    cases: Array
    both: Array

    @classmethod
    def of(cls, values: Array) -> "NoiseVariances":
        """Estimate the variances from mean squares, without what all sources share.

        Args:
            values: (n, s, m) float64, the Dice of n >= 2 sources with s >= 2 seeds on m >= 2 cases.
        """
        n, s, m = values.shape
        own = (values - values.mean(axis=0)) * np.sqrt(n / (n - 1))
        seeds, cases = own.mean(axis=2), own.mean(axis=1)
        centre = own.mean(axis=(1, 2))
        rest = own - seeds[:, :, None] - cases[:, None, :] + centre[:, None, None]
        both = (rest**2).sum(axis=(1, 2)) / ((s - 1) * (m - 1))
        of_seeds = m * ((seeds - centre[:, None]) ** 2).sum(axis=1) / (s - 1)
        of_cases = s * ((cases - centre[:, None]) ** 2).sum(axis=1) / (m - 1)
        return cls((of_seeds - both) / m, (of_cases - both) / s, both)

    def of_mean(self, seeds: float, cases: float) -> Array:
        """(n,) the variance of a mean over so many seeds and cases.

        Negative estimates count as 0, and the others are scaled so that the mean over sources stays what it is.
        """
        alone = self.seeds / seeds + self.cases / cases
        kept = np.maximum(alone, 0)
        total = kept.sum()
        scale = max(float(alone.sum()), 0.0) / total if total else 0.0
        return cast("Array", scale * kept + self.both / (seeds * cases))


def splits(seeds: int) -> list[NDArray[np.bool_]]:
    """All splits of the seeds into halves (s//2 and the rest), each as a mask of the first half.

    Args:
        seeds: s, at least 2.

    Returns:
        Masks of shape (s,); at most 500, evenly spaced if there are more.

    Example:
        >>> [mask.astype(int).tolist() for mask in splits(4)]
        [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]
    """
    half = seeds // 2
    number = comb(seeds, half)
    if seeds == 2 * half:
        number //= 2  # a half and its complement are the same split, and the first masks contain one of each
    step = max(1, -(-number // MOST_SPLITS))
    masks = []
    for place, chosen in enumerate(combinations(range(seeds), half)):
        if place >= number:
            break
        if place % step == 0:
            masks.append(np.isin(np.arange(seeds), chosen))
    return masks
