"""The quality of the truth of a pool: reliability with an interval, ceiling, spread, and what the noise alone gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

from analysis.agreement.bootstrap import Array, Counts
from analysis.agreement.measure_table import FEWEST, PRIMARY
from analysis.agreement.source_bootstrap import SourceDraws
from analysis.truth.ceiling import calibrate
from analysis.truth.halves import FEWEST_CASES, Halves, classes_of_cases, crossed_halves, seed_halves, seed_variances
from analysis.truth.pools import Pool, Scope
from analysis.truth.reliability import ALIKE, why_unreliable

MOST_RESAMPLES = 300  # of the shared draws: the ends of an interval then vary by about 0.02
RESAMPLED_CROSSINGS = 40  # of each resample; more change its mean agreement by less than 0.01
NO_CLASS = "over seeds only: no class has a Dice for every source, seed and case that has it"


class Noise(StrEnum):
    """The noise that the main figures of a reliability contain."""

    SEEDS = "seeds"
    SEEDS_AND_CASES = "seeds and cases"
    SOME_CASES = "seeds, on some targets also cases"
    UNKNOWN = ""


@dataclass(frozen=True)
class Reliability:
    """The reliability of a truth with its resamples.

    Attributes:
        value: Primary measure -> reliability of the mean over all seeds (and test cases).
        resampled: Primary measure -> (b,) the same on each bootstrap resample of the sources.
    """

    value: Mapping[str, float]
    resampled: Mapping[str, Array]


@dataclass(frozen=True)
class Quality:
    """The quality of the truth of one target, or its mean over several.

    Attributes:
        scope: Whether it is the quality of one target or a mean.
        target: The target; for the mean over the targets of one scan, the scan; for other means "".
        tune: What was fine-tuned.
        sources: The number of sources in the pool; for a mean, the mean number.
        seeds: The number of seeds per source; for a mean, the mean number.
        targets: The number of targets averaged; 1 for a single target.
        spread: Best minus worst mean Dice.
        seed_sd: The square root of the mean variance of a source's Dice between seeds.
        best_minus_median: Best minus median mean Dice.
        by_noise: The same if all sources were equally good: what noise alone gives.
        noise: The noise that `reliability`, `ceiling` and `by_noise` contain.
        reason: Why there is no reliability, or which sources with truth are not in the pool; otherwise "".
        reliability: The reliability over seeds and test cases, or over seeds if the cases are unknown or few.
        over_seeds: The reliability over seeds only.
        ceiling: Primary measure -> the expected agreement of a perfect predictor.
    """

    scope: Scope
    target: str
    tune: str
    sources: float
    seeds: float
    targets: int
    spread: float
    seed_sd: float
    best_minus_median: float
    by_noise: float
    noise: Noise
    reason: str
    reliability: Reliability
    over_seeds: Reliability
    ceiling: Mapping[str, float]


@dataclass(frozen=True)
class _Figures:
    """What follows from one kind of halves; `alike` says whether a half has no ranking."""

    reliability: Reliability
    ceiling: Mapping[str, float]
    by_noise: float
    alike: bool


def quality(pool: Pool, *, draws: SourceDraws, generator: np.random.Generator) -> Quality:
    """Reliability and ceiling of one pool.

    Args:
        pool: The truth.
        draws: The resamples of the sources; the first 300 are used.
        generator: Randomness of the splits and the simulation.

    Returns:
        The quality; NaN with the reason if the truth has fewer than 3 sources or 2 seeds.
    """
    counts = draws.counts_of(pool.sources)[:MOST_RESAMPLES]
    n = len(pool.sources)
    why = why_unreliable(pool.dice)
    seeds = main = _nothing(len(counts))
    noise = Noise.UNKNOWN
    if not why:
        seeds = main = _figures(pool, seed_halves(pool.dice), counts, generator)
        noise, why = Noise.SEEDS, f"{ALIKE} of the seeds" if seeds.alike else ""
    if not why and pool.cases is not None and pool.cases.shape[2] >= FEWEST_CASES:
        both, why = _over_cases(pool, pool.cases, counts, generator)
        noise, main = (Noise.SEEDS, seeds) if why else (Noise.SEEDS_AND_CASES, both)
    few = f"{n} sources, an interval of the reliability needs {FEWEST}" if not why and n < FEWEST else ""
    outside = "; ".join(f"without {source}: {reason}" for source, reason in pool.left_out.items())
    return Quality(
        scope=Scope.TARGET,
        target=pool.target,
        tune=pool.tune,
        sources=n,
        seeds=len(pool.seeds),
        targets=1,
        spread=pool.spread if n else float("nan"),
        seed_sd=float("nan") if np.isnan(seeds.by_noise) else float(np.sqrt(seed_variances(pool.dice).mean())),
        best_minus_median=float(pool.mean.max() - np.median(pool.mean)) if n else float("nan"),
        by_noise=main.by_noise,
        noise=noise,
        reason="; ".join(filter(None, (why, few, outside))),
        reliability=main.reliability,
        over_seeds=seeds.reliability,
        ceiling=main.ceiling,
    )


def _over_cases(pool: Pool, cases: Array, counts: Counts, generator: np.random.Generator) -> tuple[_Figures, str]:
    """The figures over seeds and test cases, and the reason if there are none."""
    if not classes_of_cases(cases).any():
        return _nothing(len(counts)), NO_CLASS
    both = _figures(pool, crossed_halves(cases, generator=generator), counts, generator)
    return both, f"over seeds only: {ALIKE} of the seeds and test cases" if both.alike else ""


def _figures(pool: Pool, halves: Halves, counts: Counts, generator: np.random.Generator) -> _Figures:
    half = halves.agreement(PRIMARY)
    noise = float(np.sqrt(halves.variance.mean())) * expected_maximum(len(pool.sources))
    if np.isnan(list(half.values())).any():
        nothing = _nothing(len(counts))
        return _Figures(nothing.reliability, nothing.ceiling, noise, alike=True)
    calibration = calibrate(pool.mean, halves, measures=PRIMARY, generator=generator)
    resampled = halves.some(RESAMPLED_CROSSINGS).resampled(PRIMARY, counts)
    return _Figures(
        Reliability(
            value={m.name: float(calibration.reliability(m, np.array(half[m.name]))) for m in PRIMARY},
            resampled={m.name: calibration.reliability(m, resampled[m.name]) for m in PRIMARY},
        ),
        ceiling={m.name: calibration.ceiling(m, half[m.name]) for m in PRIMARY},
        by_noise=noise,
        alike=False,
    )


def _nothing(resamples: int) -> _Figures:
    """Figures of NaN."""
    nan = float("nan")
    names = [measure.name for measure in PRIMARY]
    unknown = Reliability(dict.fromkeys(names, nan), dict.fromkeys(names, np.full(resamples, nan)))
    return _Figures(unknown, dict.fromkeys(names, nan), nan, alike=False)


def expected_maximum(n: int) -> float:
    """The expected maximum of n independent standard normal values, Phi^-1((n - 3/8) / (n + 1/4)).

    Args:
        n: Their number, at least 1.

    References:
        G. Blom, "Statistical Estimates and Transformed Beta-Variables", Wiley 1958.

    Example:
        >>> round(expected_maximum(13), 2)
        1.67
    """
    return float(special.ndtri((n - 0.375) / (n + 0.25)))


def mean_quality(parts: Sequence[Quality], *, scope: Scope, target: str = "") -> Quality:
    """Average over targets (or over means of targets), draw by draw; NaN if any part is NaN."""
    first = parts[0]
    reasons = [f"{part.target}: {part.reason}" for part in parts if part.reason]
    noises = {part.noise for part in parts}
    return Quality(
        scope=scope,
        target=target,
        tune=first.tune,
        sources=float(np.mean([part.sources for part in parts])),
        seeds=float(np.mean([part.seeds for part in parts])),
        targets=sum(part.targets for part in parts),
        spread=float(np.mean([part.spread for part in parts])),
        seed_sd=float(np.mean([part.seed_sd for part in parts])),
        best_minus_median=float(np.mean([part.best_minus_median for part in parts])),
        by_noise=float(np.mean([part.by_noise for part in parts])),
        noise=Noise.UNKNOWN if Noise.UNKNOWN in noises else noises.pop() if len(noises) == 1 else Noise.SOME_CASES,
        reason="; ".join(reasons),
        reliability=_mean_reliability([part.reliability for part in parts]),
        over_seeds=_mean_reliability([part.over_seeds for part in parts]),
        ceiling={key: float(np.mean([part.ceiling[key] for part in parts])) for key in first.ceiling},
    )


def _mean_reliability(parts: Sequence[Reliability]) -> Reliability:
    names = parts[0].value
    return Reliability(
        value={name: float(np.mean([part.value[name] for part in parts])) for name in names},
        resampled={name: np.mean([part.resampled[name] for part in parts], axis=0) for name in names},
    )
